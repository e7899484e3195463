"""Fixtures every folder of tests shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real models and data (``EDGEOPT_DATA``, default ../shared/data beside the checkout)."""
    return Path(os.environ.get("EDGEOPT_DATA", _CHECKOUT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data_folder(data_root: Path) -> Callable[[str], Path]:
    """Return a function that gives one folder of real data, or skips the test with the reason."""

    def folder(name: str) -> Path:
        path = data_root / name
        if not path.is_dir():
            pytest.skip(f"real data '{name}' is not at {data_root} (set EDGEOPT_DATA)")
        return path

    return folder
