from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeopt.batches import Batch
from edgeopt.targets.target import Target, load_target


@pytest.fixture(scope="session")
def target() -> Target:
    return load_target("x86-vnni")


@pytest.fixture
def sentence() -> Callable[..., Batch]:
    """Make one padded sentence of `length` random token ids, the last `padding` of them masked."""
    rng = np.random.default_rng(0)

    def make(length: int, padding: int = 0) -> Batch:
        mask = np.ones((1, length), dtype=np.int64)
        mask[:, length - padding :] = 0
        return {
            "input_ids": rng.integers(5, 100, (1, length)),
            "attention_mask": mask,
            "token_type_ids": np.zeros((1, length), dtype=np.int64),
        }

    return make
