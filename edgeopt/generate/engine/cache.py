"""What every cache of a decoder can do, and how much memory one takes.

A cache has rows, one per text. Rows 0 … n−1 can be decoded together, one token each, whatever their lengths; a single row can
be extended by many tokens (a prompt, or a draft to check) and rewound to any earlier length.

    extend(row, tokens, want)   run `tokens` after what the row holds; logits of the last `want` of them   [want, vocabulary]
    step(tokens)                run one token in each of the first rows; logits                            [rows, vocabulary]
    rewind(row, length)         forget all but the first `length` tokens
    swap(a, b) · copy(a, b, n)  exchange rows, or copy the first n tokens of one to another
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .arrays import Array
from .description import Description
from .errors import CacheError

SPARE = 0.95
"""The share of the available memory that a cache may take."""


class Cache(Protocol):
    """The keys and values of several texts, and the session that extends them."""

    lengths: list[int]
    """How many tokens each row holds."""

    def extend(self, row: int, tokens: Sequence[int], want: int = 1) -> Array:
        """Run `tokens` after what `row` holds and return the logits of the last `want`, [want, vocabulary]."""
        ...

    def step(self, tokens: Sequence[int]) -> Array:
        """Run one token in each of the first rows and return the logits, [rows, vocabulary]."""
        ...

    def rewind(self, row: int, length: int) -> None:
        """Forget all but the first `length` tokens of `row`."""
        ...

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source`."""
        ...

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in every row."""
        ...


def available_bytes() -> int | None:
    """Return the memory that this machine can still give, None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return int(found.split()[1]) * 1024 if found else None


def check_memory(described: Description, *, rows: int, length: int, available: int | None = None) -> None:
    """Raise an error if a cache of `rows` rows of `length` tokens does not fit; it says how many tokens do.

    Raises:
        CacheError: there is not enough memory.
    """
    free = available_bytes() if available is None else available
    needed = rows * length * described.cache_bytes_per_token
    if free is None or needed <= SPARE * free:
        return
    fit = int(SPARE * free / (described.cache_bytes_per_token * rows))
    each = f" in each of {rows} rows" if rows > 1 else ""
    raise CacheError(
        f"no memory for a cache of {length} tokens{each}: it takes {needed / 2**20:.0f} MiB of the {free / 2**20:.0f} MiB that "
        f"are available; {fit} tokens{each} fit"
    )
