"""A part of a model that consists of equal units, such as an attention with its heads.

    writers ──▶ units ──▶ readers          q, k, v ──▶ heads ──▶ output projection
                                           up, gate ─▶ neurons ─▶ down projection
                                           convolution, norm ─▶ channels ─▶ next convolutions

A unit is removed by cutting its channels from the outputs of all writers and from the inputs of all readers. Before that, the
same model is had by setting the readers' weights for those channels to zero (`mask`): both must give the same outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import torch
from torch import Tensor, nn

from edgeopt.models.kept import Side, is_conv1d
from edgeopt.models.reshape import Empty


class Kind(StrEnum):
    """What the units of a part are."""

    HEADS = "heads"
    NEURONS = "neurons"
    CHANNELS = "channels"


@dataclass(frozen=True)
class Cut:
    """The channels of one side of one layer that belong to units: unit u has `width` of them from start + u · width.

    A packed projection (queries, keys and values in one) has several starts. A convolution that reads has `kernel` weights per
    channel in each of its rows.
    """

    layer: str
    side: Side
    width: int
    starts: tuple[int, ...] = (0,)
    kernel: int = 1

    def channels(self, units: Iterable[int]) -> list[int]:
        """Return the channels of `units`."""
        chosen = sorted(units)
        return [start + unit * self.width + inner for start in self.starts for unit in chosen for inner in range(self.width)]

    def columns(self, units: Iterable[int]) -> list[int]:
        """Return the places that the channels of `units` have in a reader's rows (see `rows_of`)."""
        return [channel * self.kernel + place for channel in self.channels(units) for place in range(self.kernel)]


@dataclass(frozen=True)
class Part:
    """Units that can be removed one by one.

    Attributes:
        name: of the module that has them, as a layer's name in messages.
        kind: what the units are.
        units: how many there are.
        writers: the layers that compute them.
        readers: the linear layers and convolutions that read them; their weights are masked and updated.
        empty: what stands for which module if no unit is left; empty: at least one unit stays.
        sizes: by module and attribute, how much of a number belongs to one unit.
        stack: name of the stack of layers it lies in, "" if in none.
        place: the number of its layer in that stack.
    """

    name: str
    kind: Kind
    units: int
    writers: tuple[Cut, ...]
    readers: tuple[Cut, ...]
    empty: Mapping[str, Empty] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stack: str = ""
    place: int = 0

    @property
    def least(self) -> int:
        """Return the smallest number of units that can be left."""
        return 0 if self.empty else 1

    def cuts(self) -> tuple[Cut, ...]:
        """Return the cuts of writers and readers."""
        return (*self.writers, *self.readers)

    def layers(self) -> Iterator[str]:
        """Yield the names of all its layers."""
        yield from (cut.layer for cut in self.cuts())


def merged(parts: Sequence[Part], *, more: tuple[Cut, ...] = ()) -> Part:
    """Return one part out of several whose units must be removed together; it cannot be emptied."""
    first = parts[0]
    sizes = {name: values for part in parts for name, values in part.sizes.items()}
    return replace(
        first,
        writers=tuple(dict.fromkeys([*(cut for part in parts for cut in part.writers), *more])),
        readers=tuple(dict.fromkeys(cut for part in parts for cut in part.readers)),
        empty={},
        sizes=sizes,
        stack="" if len({(part.stack, part.place) for part in parts}) > 1 else first.stack,
    )


def rows_of(layer: nn.Module) -> Tensor:
    """Return the weight of a linear layer as [outputs, inputs], of a convolution as [outputs, inputs · kernel].

    A transposed convolution spreads each of its inputs, so its rows are [outputs · kernel, inputs].
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight.detach().flatten(1).T if _inputs_first(layer) else weight.detach().flatten(1)


def _inputs_first(layer: nn.Module) -> bool:
    return is_conv1d(layer) or bool(getattr(layer, "transposed", False))


@torch.no_grad()
def set_rows(layer: nn.Module, rows: Tensor) -> None:
    """Set the weight of a linear layer or a convolution, given as `rows_of` returns it."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    weight.copy_((rows.T if _inputs_first(layer) else rows).reshape(weight.shape))


@torch.no_grad()
def mask(model: nn.Module, part: Part, kept: Sequence[int]) -> None:
    """Set the readers' weights of all units but `kept` to zero, in place."""
    gone = sorted(set(range(part.units)) - set(kept))
    for cut in part.readers:
        layer = model.get_submodule(cut.layer)
        rows = rows_of(layer).clone()
        rows[:, cut.columns(gone)] = 0
        set_rows(layer, rows)
