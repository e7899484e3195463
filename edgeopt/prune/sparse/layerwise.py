"""Set weights to zero layer by layer, with the memory of one layer's statistics.

    dense inputs of a stack ─▶ layer 0: statistics ─▶ zeros ─▶ its outputs again ─▶ layer 1 …

So every layer is judged on what the layers before it, already sparse, give it (SparseGPT, https://arxiv.org/abs/2301.00774,
section 4). Where layers of a stack do not simply follow one another, and for layers outside of stacks, the whole model runs
once for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.data.samples import Samples
from edgeopt.errors import ModelError
from edgeopt.models.call import to_tensors
from edgeopt.prune.calibration import columns_of
from edgeopt.prune.heads import heads
from edgeopt.prune.losses import main_output
from edgeopt.prune.result import LayerZeros
from edgeopt.prune.sparse import magnitude, sparsegpt, wanda
from edgeopt.prune.sparse.pattern import Pattern
from edgeopt.prune.structure.anatomy import ignored, stacks_of
from edgeopt.prune.structure.heads import is_linear
from edgeopt.prune.structure.parts import rows_of, set_rows

Method = Callable[[Tensor, Tensor | None, Pattern], Tensor]
METHODS: Mapping[str, Method] = {"magnitude": magnitude.sparse, "wanda": wanda.sparse, "sparsegpt": sparsegpt.sparse}
_BATCH = 8


@torch.no_grad()
def sparsify(
    model: nn.Module, samples: Samples, *, pattern: Pattern, method: str, ignore: Sequence[str] = ()
) -> tuple[LayerZeros, ...]:
    """Set weights of `model` to zero, in place: of the linear layers of its stacks, or of all layers but those of its outputs.

    Args:
        model: a transformer, or any network of linear layers and convolutions.
        samples: calibration samples.
        pattern: which and how many weights.
        method: one of `METHODS`.
        ignore: names or patterns of layers that stay dense.

    Raises:
        ModelError: there is no layer whose weights can be removed.
        RecipeError: a pattern to ignore matches nothing.
    """
    model.eval()
    kept = ignored(model, ignore)
    names = [name for name in candidates(model, samples) if name not in kept]
    if not names:
        raise ModelError(f"{type(model).__name__}: no linear layer or convolution whose weights could be set to zero")
    batches = [to_tensors(batch) for batch in samples.sorted_batches(_BATCH)]
    run = _Run(model, batches, pattern, METHODS[method], moments=method != "magnitude")
    with progress.task("zeros", total=len(names)) as advance:
        for stack, count in stacks_of(model).items():
            inside = [[name for name in names if name.startswith(f"{stack}.{place}.")] for place in range(count)]
            run.stack(stack, inside, advance)
        for name in names:
            if name not in run.done:
                run.alone([name])
                advance()
    return tuple(run.done[name] for name in names)


def candidates(model: nn.Module, samples: Samples) -> list[str]:
    """Return the names of the layers whose weights may go: linear layers in stacks, else all but those of the outputs."""
    inside = tuple(f"{stack}." for stack in stacks_of(model)) if hasattr(model, "config") else ()
    linear = [name for name, layer in model.named_modules() if is_linear(layer) and name.startswith(inside)] if inside else []
    if linear:
        return linear
    with torch.enable_grad():
        last = set(heads(model, samples.collate([0])))
    return [name for name, layer in model.named_modules() if _can_be_sparse(layer) and layer not in last]


def _can_be_sparse(layer: nn.Module) -> bool:
    return is_linear(layer) or (isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups == 1)


class _Run:
    """Removes weights of one layer after another."""

    def __init__(
        self, model: nn.Module, batches: Sequence[Mapping[str, Tensor]], pattern: Pattern, method: Method, *, moments: bool
    ) -> None:
        self.model, self.batches, self.pattern, self.method, self.moments = model, batches, pattern, method, moments
        self.done: dict[str, LayerZeros] = {}

    def stack(self, stack: str, inside: Sequence[Sequence[str]], advance: Callable[[], None]) -> None:
        """Handle the layers of a stack, each with the inputs that the sparse ones before it make."""
        calls = self._calls(stack) if self.moments else None
        for place, names in enumerate(inside):
            wanted = [name for name in names if name not in self.done]
            if calls is None:
                self.alone(wanted)
            else:
                layer = self.model.get_submodule(f"{stack}.{place}")
                with self._statistics(wanted) as found:
                    for number, per_layer in enumerate(calls):
                        found.mask = self.batches[number].get("attention_mask")
                        per_layer[place](layer)
                self._remove(wanted, found.means())
                for per_layer in calls:
                    if place + 1 < len(per_layer):
                        per_layer[place + 1].hidden = per_layer[place](layer)
                    per_layer[place].hidden = None
            for _ in wanted:
                advance()

    def alone(self, names: Sequence[str]) -> None:
        """Handle layers with statistics of the whole model's runs."""
        if not names:
            return
        with self._statistics(names if self.moments else []) as found:
            for batch in self.batches if self.moments else []:
                found.mask = batch.get("attention_mask")
                main_output(self.model, batch)
        self._remove(names, found.means())

    def _remove(self, names: Sequence[str], moments: Mapping[str, Tensor]) -> None:
        for name in names:
            layer = self.model.get_submodule(name)
            rows = rows_of(layer)
            sparse = self.method(rows, moments.get(name), self.pattern) if name in moments or not self.moments else rows
            set_rows(layer, sparse)
            self.done[name] = LayerZeros(name, rows.numel(), int((sparse == 0).sum()))

    @contextmanager
    def _statistics(self, names: Sequence[str]) -> Iterator[_Statistics]:
        found = _Statistics()
        hooks = [self.model.get_submodule(name).register_forward_pre_hook(found.hook(name)) for name in names]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    def _calls(self, stack: str) -> list[list[_Call]] | None:
        """Return for each batch how the layers of `stack` were called, or None if they do not follow one another."""
        layers = list(self.model.get_submodule(stack).children())
        calls: list[list[_Call]] = []
        order: list[int] = []
        hooks = []
        for place, layer in enumerate(layers):

            def note(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], place: int = place) -> None:
                order.append(place)
                calls[-1].append(_Call(given, named, keep=place == 0 or len(calls) == 1))

            hooks.append(layer.register_forward_pre_hook(note, with_kwargs=True))
        try:
            for batch in self.batches:
                calls.append([])
                main_output(self.model, batch)
        finally:
            for hook in hooks:
                hook.remove()
        plain = order == list(range(len(layers))) * len(self.batches)
        return calls if plain and _follow(layers, calls[0]) else None


def _follow(layers: Sequence[nn.Module], calls: Sequence[_Call]) -> bool:
    """Return whether each layer's output is the next one's input, a tensor."""
    if not all(isinstance(call.hidden, Tensor) for call in calls):
        return False
    for layer, call, after in zip(layers, calls, calls[1:], strict=False):
        result, given = call(layer), after.hidden
        if not isinstance(result, Tensor) or not isinstance(given, Tensor) or result.shape != given.shape:
            return False
        if not torch.allclose(result, given, rtol=1e-4, atol=1e-5):
            return False
    return True


class _Call:
    """The arguments of a layer; the hidden states among them, its first argument, are kept where they are needed."""

    def __init__(self, given: tuple[Any, ...], named: Mapping[str, Any], *, keep: bool) -> None:
        self.rest, self.named = given[1:], {name: value for name, value in named.items() if name != "hidden_states"}
        self.by_name = not given
        self.hidden: Tensor | None = (given[0] if given else named.get("hidden_states")) if keep else None

    def __call__(self, layer: nn.Module) -> Tensor:
        """Return what `layer` makes of the hidden states."""
        given: dict[str, Any] = {**self.named, "hidden_states": self.hidden} if self.by_name else self.named
        result = layer(**given) if self.by_name else layer(self.hidden, *self.rest, **given)
        hidden: Tensor = result[0] if isinstance(result, tuple) else result
        return hidden


class _Statistics:
    """Means of x xᵀ of layers' inputs."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}
        self.mask: Tensor | None = None

    def hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        """Return what adds the inputs of the layer `name`."""

        def add(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = columns_of(layer, given[0].detach(), self.mask).float()
            product = (x.T @ x).double()
            self.sums[name] = self.sums[name] + product if name in self.sums else product
            self.rows[name] = self.rows.get(name, 0) + len(x)

        return add

    def means(self) -> dict[str, Tensor]:
        """Return the means, [inputs, inputs] float64."""
        return {name: value / max(1, self.rows[name]) for name, value in self.sums.items()}
