"""Whole layers: those whose absence changes the model's outputs least go first, one after another.

As in ShortGPT (https://arxiv.org/abs/2403.03853) layers are removed without any change to the rest; what a layer is worth is
measured instead of estimated: the loss (language models) or the divergence of the outputs on calibration data without it.
After the first layer the others are tried in the order of what they gave before, until none can be better if removing more
layers does not make a layer matter less, which is assumed (lazy greedy, Minoux 1978, https://doi.org/10.1007/BFb0006528).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from edgeopt import progress
from edgeopt.data.samples import Samples
from edgeopt.errors import InternalError, ModelError, RecipeError
from edgeopt.models.call import to_tensors
from edgeopt.models.reshape import Shape, reshape
from edgeopt.prune.losses import Judge, is_language_model, main_output, next_token_loss
from edgeopt.prune.structure.anatomy import Anatomy
from edgeopt.train.precision import cpu_computes_bf16


def drop_layers(
    model: nn.Module, samples: Samples, anatomy: Anatomy, *, count: int
) -> tuple[Shape, dict[str, tuple[int, ...]]]:
    """Remove `count` layers of `model`, in place; return its shape and the numbers of the layers that went, by stack.

    Raises:
        RecipeError: there are not that many.
        ModelError: the model does not run without one of its layers.
    """
    stacks = {name: size for name, size in anatomy.stacks.items() if any(part.stack == name for part in anatomy.parts)}
    most = sum(size - 1 for size in stacks.values())
    if count > most:
        have = ", ".join(f"'{name}' has {size}" for name, size in stacks.items()) or "no stack of layers is known"
        raise RecipeError(f"prune.drop_layers is {count}: at most {most} can be removed, one of a stack stays; {have}")
    judge = _judge(model, samples)
    left = {name: list(range(size)) for name, size in stacks.items()}
    known = {(name, layer): 0.0 for name in left for layer in left[name]}
    with progress.task("layers", total=count) as advance:
        for _ in range(count):
            known = {place: value for place, value in known.items() if place[1] in left[place[0]] and len(left[place[0]]) > 1}
            name, layer = _least(known, lambda name, layer: judge_without(model, name, left, layer, judge))
            left[name].remove(layer)
            _set(model, {name: left[name]}, _originals(model, name))
            advance()
    changed = {name: tuple(chosen) for name, chosen in left.items() if len(chosen) < stacks[name]}
    for name in stacks:
        _restore(model, name)
    shape = Shape(layers=changed)
    reshape(model, shape)
    gone = {name: tuple(place for place in range(stacks[name]) if place not in chosen) for name, chosen in changed.items()}
    return shape, gone


def _least(known: dict[tuple[str, int], float], judge: Callable[[str, int], float]) -> tuple[str, int]:
    """Return the place with the least judgement; `known` has what each was at least, and is brought up to date."""
    best: tuple[str, int] | None = None
    for place in sorted(known, key=lambda place: known[place]):
        if best is not None and known[best] <= known[place]:
            break
        known[place] = judge(*place)
        if best is None or known[place] < known[best]:
            best = place
    if best is None:
        raise InternalError("no layer is left that could be removed")
    return best


def judge_without(
    model: nn.Module, stack: str, left: Mapping[str, Sequence[int]], layer: int, judge: Callable[[], float]
) -> float:
    """Return the judgement of `model` with the layers `left` of its stacks, without `layer` of `stack`."""
    originals = _originals(model, stack)
    try:
        _set(model, {stack: [place for place in left[stack] if place != layer]}, originals)
        return judge()
    except (RuntimeError, IndexError, TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{type(model).__name__} does not run without layer {layer} of '{stack}': {error}") from error
    finally:
        _set(model, {stack: left[stack]}, originals)


_WHOLE = "_edgeopt_whole"


def _originals(model: nn.Module, stack: str) -> list[nn.Module]:
    """Return all layers that the stack had, which are kept beside it meanwhile."""
    current = model.get_submodule(stack)
    whole: list[nn.Module] = current.__dict__.setdefault(_WHOLE, list(current.children()))
    return whole


def _set(model: nn.Module, chosen: Mapping[str, Sequence[int]], originals: Sequence[nn.Module]) -> None:
    for name, places in chosen.items():
        owner, _, own_name = name.rpartition(".")
        stack = nn.ModuleList([originals[place] for place in places])
        stack.__dict__[_WHOLE] = list(originals)
        setattr(model.get_submodule(owner), own_name, stack)


def _restore(model: nn.Module, stack: str) -> None:
    originals = _originals(model, stack)
    _set(model, {stack: range(len(originals))}, originals)
    del model.get_submodule(stack).__dict__[_WHOLE]


def _judge(model: nn.Module, samples: Samples) -> Callable[[], float]:
    if not is_language_model(model):
        return Judge(model, samples)
    batches = [to_tensors(batch) for batch in samples.sorted_batches(8)]

    @torch.no_grad()
    def perplexity() -> float:
        model.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_computes_bf16()):
            return sum(float(next_token_loss(main_output(model, batch), batch)) for batch in batches) / len(batches)

    return perplexity
