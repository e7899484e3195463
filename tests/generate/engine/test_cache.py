"""The memory that a cache takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.generate.engine.cache import available_bytes, check_memory
from edgeopt.generate.engine.description import Description
from edgeopt.generate.engine.errors import CacheError

DESCRIBED = Description(Path("m.onnx"), "portable", 2, 2, 8, 512, 400, "float32", False, (2,), 1)


def test_a_cache_that_does_not_fit_says_how_many_tokens_do() -> None:
    assert DESCRIBED.cache_bytes_per_token == 2 * 2 * 2 * 8 * 4
    with pytest.raises(CacheError, match=r"512 tokens: .*; 95 tokens fit"):
        check_memory(DESCRIBED, rows=1, length=512, available=100 * 256)
    with pytest.raises(CacheError, match="47 tokens in each of 2 rows fit"):
        check_memory(DESCRIBED, rows=2, length=512, available=100 * 256)


def test_a_cache_that_fits_is_accepted() -> None:
    check_memory(DESCRIBED, rows=1, length=90, available=100 * 256)
    assert (available_bytes() or 1 << 40) > 1 << 20
