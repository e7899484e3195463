"""`edgeopt serve`: wrong use; `tests/generate/server` has the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import edgeopt_here

pytest.importorskip("fastapi")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "--port", "0"), "no such file or folder"),
        (("nowhere", "--port", "0", "--set", "quue=3"), "did you mean 'queue'"),
        (("nowhere", "--port", "0", "--set", "time_limit_s=-1.0"), "greater than 0"),
        (("nowhere", "--port", "0", "--host", "999.1.1.1"), "cannot listen there"),
    ],
)
def test_wrong_use_is_said_in_a_line(arguments: tuple[str, ...], said: str) -> None:
    done = edgeopt_here("serve", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_address_beyond_this_machine_without_a_key_is_a_warning(tmp_path: Path) -> None:
    done = edgeopt_here("serve", str(tmp_path / "nowhere"), "--port", "0", "--host", "0.0.0.0")
    assert "set --api-key" in done.stderr
