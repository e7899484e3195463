"""SparseGPT beside its algorithm in plain loops, and beside what it is better than."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeopt.prune.sparse import magnitude, wanda
from edgeopt.prune.sparse.pattern import read_pattern
from edgeopt.prune.sparse.sparsegpt import sparse

_GENERATOR = torch.Generator().manual_seed(0)
_X = torch.randn(400, 12, generator=_GENERATOR) @ torch.randn(12, 12, generator=_GENERATOR)
_MOMENT = (_X.T @ _X / len(_X)).double()
_ROWS = torch.randn(5, 12, generator=_GENERATOR)


def _plainly(rows: Tensor, moment: Tensor, group: int, zeros: int) -> Tensor:
    """Return algorithm 1 for n:m, weight by weight, without blocks; the inverse is computed again for the rest of each row."""
    weights = rows.double().numpy().copy()
    hessian = moment.numpy() + 0.01 * float(moment.diagonal().mean()) * np.eye(len(moment))
    inputs = weights.shape[1]
    for row in weights:
        gone: set[int] = set()
        for j in range(inputs):
            inverse = np.linalg.inv(hessian[j:, j:])
            if j % group == 0:
                scores = {}
                for other in range(j, j + group):
                    scores[other] = row[other] ** 2 / np.linalg.inv(hessian[other:, other:])[0, 0]
                gone |= set(sorted(scores, key=lambda place: scores[place])[:zeros])
            if j in gone:
                row[j:] -= row[j] / inverse[0, 0] * inverse[0]
    return torch.from_numpy(weights)


@pytest.mark.parametrize("block", [4, 8, 128])
def test_two_of_four_is_the_algorithm_in_plain_loops(block: int) -> None:
    found = sparse(_ROWS, _MOMENT, read_pattern("2:4"), block=block).double()
    expected = _plainly(_ROWS, _MOMENT, 4, 2)
    assert float((found - expected).abs().max()) < 1e-5, f"largest error {float((found - expected).abs().max()):.1e}"


def test_half_of_all_weights_go() -> None:
    assert int((sparse(_ROWS, _MOMENT, read_pattern("0.5")) == 0).sum()) == 30


def test_the_layers_output_changes_less_than_with_wanda_and_with_magnitude() -> None:
    def error(method: object) -> float:
        change = (method(_ROWS, _MOMENT, read_pattern("0.5")) - _ROWS).double()  # type: ignore[operator]
        return float(((change @ _MOMENT) * change).sum())

    assert error(sparse) < 0.7 * error(wanda.sparse) < 0.7 * error(magnitude.sparse) * 1.5


def test_an_input_that_is_always_zero_gets_no_weight() -> None:
    moment = _MOMENT.clone()
    moment[3] = moment[:, 3] = 0
    found = sparse(_ROWS, moment, read_pattern("0.25"))
    assert torch.isfinite(found).all() and not found[:, 3].any()
