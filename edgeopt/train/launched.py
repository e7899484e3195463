"""Several processes that `accelerate launch` started: which one this is, and what the first one tells the others.

The first process runs everything. The others take part in its trainings alone: it announces each, and they run the same stage
with their share of every batch, write into a folder of their own that is thrown away, and wait for the next announcement.
"""

from __future__ import annotations

import os


def size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process; 0 is the first one, and the only one where no launcher started several."""
    return int(os.environ.get("RANK", "0")) if size() > 1 else 0


def announce(name: str) -> None:
    """Tell the other processes which training is about to begin; "": there are no more."""
    if size() > 1:
        _exchanged(name)


def awaited() -> str:
    """Wait for the first process' next announcement and return it."""
    return _exchanged("")


def _exchanged(name: str) -> str:
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState()
    names = [name]
    broadcast_object_list(names)
    return names[0]
