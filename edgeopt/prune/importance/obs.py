"""Optimal Brain Surgeon for units: one at a time, with an update of what is left.

ZipLM, https://arxiv.org/abs/2302.04089, section 3.1; OBS: Hassibi & Stork (1993).

A reader computes Y = W X. With H = X Xᵀ + λI, removing the columns M of unit u costs, at best,

    e_u = Σ_i W_{i,M} [(H⁻¹)_{MM}]⁻¹ W_{i,M}ᵀ

and the best remaining weights, and the inverse of the remaining H, are

    W   ← W − W_{:,M} [(H⁻¹)_{MM}]⁻¹ (H⁻¹)_{M,:}
    H⁻¹ ← H⁻¹ − (H⁻¹)_{:,M} [(H⁻¹)_{MM}]⁻¹ (H⁻¹)_{M,:}

The unit with the smallest e_u goes first; then everything is computed again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeopt.prune.structure.parts import Cut, Part, rows_of

_DAMPING = 0.01
"""λ as a share of the mean of H's diagonal."""
_MOST_STEPS = 96
"""Of parts with more units, several go at once: the formulas hold for any set of columns."""


@dataclass(frozen=True)
class Step:
    """After a removal: the units that are left, the readers' weights [outputs, inputs], and the squared error so far."""

    kept: tuple[int, ...]
    rows: Mapping[str, Tensor]
    error: float


def removals(part: Part, model: nn.Module, moments: Mapping[str, Tensor], wanted: Collection[int]) -> Iterator[Step]:
    """Remove the units of `part` in the order of their cost; yield the state where as many as one of `wanted` are left."""
    sides = [_Side(cut, part.units, rows_of(model.get_submodule(cut.layer)), moments[cut.layer]) for cut in part.readers]
    left = torch.arange(part.units)
    error = 0.0
    at_once = max(1, part.units // _MOST_STEPS)
    for stop in sorted({count for count in wanted if 0 <= count < part.units}, reverse=True):
        while len(left) > stop:
            costs = torch.stack([side.costs() for side in sides]).sum(0)
            places = costs.argsort()[: min(at_once, len(left) - stop)].sort().values
            error += sum(side.remove(places) for side in sides)
            rest = torch.ones(len(left), dtype=torch.bool)
            rest[places] = False
            left = left[rest]
        yield Step(tuple(left.tolist()), {side.layer: side.whole(left) for side in sides}, max(0.0, error))


def damped(moment: Tensor) -> Tensor:
    """Return the second moments with λ on their diagonal, so that they can be inverted."""
    scale = float(moment.diagonal().mean()) or 1.0
    return moment + _DAMPING * scale * torch.eye(len(moment), dtype=moment.dtype)


class _Side:
    """One reader's weights and inverse Hessian of the columns that are left, while units are removed.

    Columns lie in the order of the units, each with all it has; behind them are those of other parts, which stay.
    """

    def __init__(self, cut: Cut, units: int, rows: Tensor, moment: Tensor) -> None:
        own = [place for unit in range(units) for place in cut.columns([unit])]
        self.layer, self.width, self.inputs = cut.layer, len(own) // units, rows.shape[1]
        others = sorted(set(range(self.inputs)) - set(own))
        self.others, self.order = len(others), torch.tensor([*own, *others])
        self.rows = rows.double()[:, self.order]
        self.inverse = torch.linalg.inv(damped(moment[self.order][:, self.order]))

    def costs(self) -> Tensor:
        """Return e_u of the units that are left."""
        own_columns = self.rows.shape[1] - self.others
        if self.width == 1:
            by_channel: Tensor = (self.rows**2).sum(0) / self.inverse.diagonal().clamp(min=1e-30)
            return by_channel[:own_columns]
        blocks = self._columns(torch.arange(own_columns // self.width)).view(-1, self.width)  # [units, width]
        inner = self.inverse[blocks[:, :, None], blocks[:, None, :]]  # [units, width, width]
        own = self.rows[:, blocks].permute(1, 2, 0)  # [units, width, outputs]
        by_unit: Tensor = (torch.linalg.solve(inner, own) * own).sum((1, 2))
        return by_unit

    def remove(self, places: Tensor) -> float:
        """Remove the units at `places` among those that are left, all at once; return what that costs."""
        chosen = self._columns(places)
        rest = torch.ones(self.rows.shape[1], dtype=torch.bool)
        rest[chosen] = False
        across = self.inverse[chosen]  # [removed, left]
        own = self.rows[:, chosen]
        solved = torch.linalg.solve(across[:, chosen], torch.cat([across[:, rest], own.T], 1))
        left = int(rest.sum())
        cost = float((solved[:, left:] * own.T).sum())
        self.rows = self.rows[:, rest] - own @ solved[:, :left]
        self.inverse = self.inverse[rest][:, rest] - across[:, rest].T @ solved[:, :left]
        return cost

    def whole(self, left: Tensor) -> Tensor:
        """Return the weights with zeros for the channels that went, if `left` are the units that are left."""
        rows = torch.zeros(len(self.rows), self.inputs)
        stayed = torch.arange(self.inputs - self.others, self.inputs)
        rows[:, self.order[torch.cat([self._columns(left), stayed])]] = self.rows.float()
        return rows

    def _columns(self, units: Tensor) -> Tensor:
        return (units[:, None] * self.width + torch.arange(self.width)[None, :]).flatten()
