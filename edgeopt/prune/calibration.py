"""What calibration data tells about the layers that are pruned: second moments of their inputs, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgeopt.batches import Batch
from edgeopt.data.samples import Samples
from edgeopt.models.call import to_tensors
from edgeopt.prune.bias import Offset, bias_places
from edgeopt.prune.structure.parts import Part

_BATCH = 16
_PLACES = 256
"""Largest number of windows of a convolution that are used per image."""


@dataclass
class Evidence:
    """What an importance may look at.

    Attributes:
        model: in evaluation mode; its weights are not changed.
        samples: calibration samples.
        loss: the task's loss on one batch, for gradients.
        shrink: shrink second moments towards their diagonal, the more the fewer rows they are a mean of.
        centred: where a bias follows, use covariances, and have it make up for means (`offsets`).
    """

    model: nn.Module
    samples: Samples
    loss: Callable[[nn.Module, Batch, Sequence[int]], Tensor]
    shrink: bool = False
    centred: bool = False
    moments: dict[str, Tensor] = field(default_factory=dict)
    offsets: dict[str, Offset] = field(default_factory=dict)

    def second_moments(self, parts: Iterable[Part]) -> Mapping[str, Tensor]:
        """Return for every reader of `parts` the mean of x xᵀ over its inputs x, [inputs, inputs], float64."""
        wanted = [cut.layer for part in parts for cut in part.readers if cut.layer not in self.moments]
        if wanted:
            means: dict[str, Tensor] = {}
            places = bias_places(self.model, dict.fromkeys(wanted), self.samples.collate([0])) if self.centred else {}
            found = second_moments(
                self.model, dict.fromkeys(wanted), self.samples.batches(_BATCH), shrink=self.shrink, means=means, centred=places
            )
            self.moments |= found
            self.offsets |= {name: Offset(means[name], place) for name, place in places.items()}
        return self.moments

    def gradients(self) -> Iterator[None]:
        """Yield after the loss's gradient on each sample has been added up in the parameters' `grad`, which is then cleared."""
        self.model.eval()
        for index in range(len(self.samples)):
            self.model.zero_grad(set_to_none=True)
            self.loss(self.model, self.samples.collate([index]), [index]).backward()  # type: ignore[no-untyped-call]
            yield
        self.model.zero_grad(set_to_none=True)


@torch.no_grad()
def second_moments(
    model: nn.Module,
    layers: Iterable[str],
    batches: Iterable[Batch],
    *,
    shrink: bool = False,
    means: dict[str, Tensor] | None = None,
    centred: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return for every one of `layers` the mean of x xᵀ over its inputs; padded tokens do not count.

    The inputs of a convolution are the windows it sees, [channels · kernel], of some places of every image. A classifier after
    pooling sees one row per image: with fewer rows than inputs a fit would follow these images alone, so `shrink` leaves of the
    products of different inputs the share 1 - inputs / rows. `means` receives the mean inputs; those of layers in `centred` are
    subtracted first.
    """
    sums: dict[str, Tensor] = {}
    firsts: dict[str, Tensor] = {}
    rows: dict[str, int] = {}
    current: dict[str, Tensor | None] = {"mask": None}
    hooks = []
    for name in layers:

        def add(layer: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
            x = columns_of(layer, given[0].detach(), current["mask"], places=_PLACES).double()
            sums[name] = sums[name] + x.T @ x if name in sums else x.T @ x
            firsts[name] = firsts.get(name, torch.zeros(())) + x.sum(0)
            rows[name] = rows.get(name, 0) + len(x)

        hooks.append(model.get_submodule(name).register_forward_pre_hook(add))
    try:
        model.eval()
        for batch in batches:
            given = to_tensors(batch)
            current["mask"] = given.get("attention_mask")
            model(**given)
    finally:
        for hook in hooks:
            hook.remove()
    middle = {name: value / max(1, rows[name]) for name, value in firsts.items()}
    if means is not None:
        means |= middle
    found = {name: value / max(1, rows[name]) for name, value in sums.items()}
    found |= {name: found[name] - torch.outer(middle[name], middle[name]) for name in centred}
    return {name: _shrunk(value, rows[name]) for name, value in found.items()} if shrink else found


def _shrunk(moment: Tensor, rows: int) -> Tensor:
    share = min(1.0, len(moment) / max(1, rows))
    return (1 - share) * moment + share * torch.diag(moment.diagonal())


def columns_of(layer: nn.Module, x: Tensor, mask: Tensor | None = None, *, places: int | None = None) -> Tensor:
    """Return what a layer's weights multiply, [positions, inputs]; of a convolution windows, at most `places` of each image."""
    if not isinstance(layer, _ConvNd):
        return unpadded(x, mask)
    if layer.transposed:  # each position is multiplied by itself
        windows = x.flatten(2)
    else:
        flat = len(layer.kernel_size) == 1
        sizes: list[tuple[int, ...]] = [layer.kernel_size, layer.dilation, layer.stride]
        kernel, dilation, stride = [(1, *size) if flat else size for size in sizes]
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        windows = F.unfold(padded[:, :, None] if flat else padded, kernel, dilation=dilation, stride=stride)
    step = 1 if places is None else max(1, windows.shape[2] // places)
    return windows[:, :, step // 2 :: step].transpose(1, 2).reshape(-1, windows.shape[1])


def unpadded(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the rows [tokens, channels] of x [..., channels] that are not padding."""
    if mask is not None and x.ndim == 3 and x.shape[:2] == mask.shape:
        return x[mask.bool()]
    return x.reshape(-1, x.shape[-1])
