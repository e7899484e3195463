"""Arrays as raw inputs: from a file or from its bytes, with the axes that the model takes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.device_code import inference

pipeline = inference("pipeline")
MANIFEST = {
    "preprocessing": {"kind": "array"},
    "decoding": {"kind": "arrays"},
    "labels": [],
    "inputs": [
        {"name": "x", "dtype": "float32", "shape": ["batch", 3]},
        {"name": "n", "dtype": "int64", "shape": ["batch"]},
    ],
    "outputs": [],
}


def packed(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def bundle() -> Any:
    return pipeline.Bundle("", session=object(), manifest=MANIFEST)


def test_bytes_and_a_file_are_the_same_arrays(bundle: Any, tmp_path: Path) -> None:
    content = packed(x=np.ones((2, 3)), n=np.array([4, 5], np.int32))
    (tmp_path / "in.npz").write_bytes(content)
    for raw in (content, str(tmp_path / "in.npz")):
        feeds = bundle.prepare(raw).feeds
        assert feeds["x"].dtype == np.float32 and feeds["n"].tolist() == [4, 5] and feeds["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed(x=np.ones((2, 3))), "has no array 'n'"),
        (packed(x=np.ones((2, 4)), n=np.ones(2)), r"array 'x' has shape \[2, 4\], the model takes \['batch', 3\]"),
        (packed(x=np.ones(3), n=np.ones(2)), r"array 'x' has shape \[3\]"),
        (packed(x=np.array([["a", "b", "c"]]), n=np.ones(1)), "which is no number"),
        (b"PK\x03\x04 broken", "no arrays can be read"),
        (b"", "no arrays can be read"),
    ],
)
def test_what_does_not_fit_is_one_line(bundle: Any, content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        bundle.prepare(content)
    assert "\n" not in str(caught.value)
