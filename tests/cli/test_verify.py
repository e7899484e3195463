"""`edgeopt verify`: a bundle is right until a byte is flipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import edgeopt


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "bundle.json", "README.md", "example.py"])
def test_a_bundle_verifies_until_a_byte_is_flipped(small: Path, name: str) -> None:
    made = edgeopt("bundle", "model.onnx", "--data", "data.npz", "-o", "b", cwd=small)
    assert made.returncode == 0, made.stderr
    assert edgeopt("verify", "b", cwd=small).returncode == 0
    path = small / "b" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    damaged = edgeopt("verify", "b", "--format", "json", cwd=small)
    assert damaged.returncode == 1, damaged.stderr
    assert name in damaged.stdout
