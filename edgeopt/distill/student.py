"""A transformers student made from its teacher: some of the teacher's layers, everything else copied.

As in Sanh et al. (2019), "DistilBERT", https://arxiv.org/abs/1910.01108, section 3. Which layers: evenly spread (DistilBERT),
or those that change their input most (Men et al. 2024, "ShortGPT", https://arxiv.org/abs/2403.03853, equation 1:
influence of layer i = 1 − mean over tokens of cos(x_i, x_{i+1})).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.record import layer_names, layer_stack, recording


def keep_layers(teacher: nn.Module, layers: Sequence[int]) -> nn.Module:
    """Return a new model of the teacher's class with only the teacher's `layers` (from 0), in that order.

    Raises:
        ModelError: the teacher is not a transformers model with one stack of layers.
        RecipeError: there is no such layer, or none is kept.
    """
    count = layer_count(teacher)
    if not layers or any(not 0 <= layer < count for layer in layers):
        raise RecipeError(
            f"distill.layers is {list(layers)}: the teacher has layers 0 to {count - 1}, at least one must be kept"
        )
    stack = layer_stack(teacher, count)
    smaller: Any = copy.deepcopy(teacher.config)
    smaller.num_hidden_layers = len(layers)
    if isinstance(getattr(smaller, "layer_types", None), list) and len(smaller.layer_types) == count:
        smaller.layer_types = [smaller.layer_types[layer] for layer in layers]
    student = type(teacher)(smaller)
    own = student.state_dict()
    chosen = {
        name: _per_layer(tensor, own[name], layers) if name in own else tensor
        for name, tensor in _chosen(teacher.state_dict(), stack, layers).items()
    }
    try:
        student.load_state_dict(chosen)
    except RuntimeError as error:
        said = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"{type(teacher).__name__}: with other layers its weights do not fit any more: {said}; name the student instead"
        ) from error
    return student


def layer_count(teacher: nn.Module) -> int:
    """Return how many layers a transformers model has.

    Raises:
        ModelError: it is none, or does not say.
    """
    count = getattr(getattr(teacher, "config", None), "num_hidden_layers", None)
    if not isinstance(count, int):
        raise ModelError(f"{type(teacher).__name__} has no layers to choose from; name the student by distill.source")
    return count


def spread(kept: int, count: int) -> list[int]:
    """Return `kept` of `count` layers, evenly spread, the last one included: 3 of 6 are 1, 3, 5."""
    return [round((index + 1) * count / kept) - 1 for index in range(kept)]


def choose_layers(kept: int, count: int, choice: str, influence: Sequence[float] = ()) -> list[int]:
    """Return which `kept` of `count` layers a student keeps.

    Args:
        kept: number of layers.
        count: number of the teacher's layers.
        choice: see `DistillOptions.layer_choice`.
        influence: of each layer, for "similarity".

    Raises:
        RecipeError: more layers are asked for than there are.
    """
    if kept > count:
        raise RecipeError(f"distill.layer_count is {kept}: the teacher has {count} layers")
    match choice:
        case "first":
            return list(range(kept))
        case "last":
            return list(range(count - kept, count))
        case "first-last":
            first = kept - kept // 2
            return [*range(first), *range(count - kept // 2, count)]
        case "similarity":
            return sorted(sorted(range(count), key=lambda layer: -influence[layer])[:kept])
        case _:
            return spread(kept, count)


@torch.no_grad()
def influences(teacher: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> list[float]:
    """Return how much each layer changes its input: 1 − mean cosine over the tokens of `batches` that are not padding."""
    teacher.eval()
    names = layer_names(teacher)
    totals, tokens = torch.zeros(len(names), dtype=torch.float64), 0.0
    for inputs in batches:
        first: list[Tensor] = []
        known = dict(teacher.named_modules())
        handle = known[names[0]].register_forward_pre_hook(
            lambda module, arguments, keywords: first.append(arguments[0] if arguments else keywords["hidden_states"]),  # noqa: B023, ARG005
            with_kwargs=True,
        )
        with recording(teacher, names) as seen:
            teacher(**inputs)
        handle.remove()
        states = [first[0], *(seen[name] for name in names)]
        mask = inputs.get("attention_mask", torch.ones(states[0].shape[:2]))
        tokens += float(mask.sum())
        for index in range(len(names)):
            similar = F.cosine_similarity(states[index], states[index + 1], dim=-1)
            totals[index] += float(((1 - similar) * mask).sum())
    return [float(total) / tokens for total in totals]


def _per_layer(tensor: Tensor, wanted: Tensor, layers: Sequence[int]) -> Tensor:
    """Return the rows of the chosen layers where a weight has one for each layer (or each but the last), as in YOLOS."""
    if tensor.shape == wanted.shape or tensor.shape[1:] != wanted.shape[1:]:
        return tensor
    return tensor[[layer for layer in layers if layer < len(tensor)][: len(wanted)]]


def _chosen(weights: Mapping[str, Tensor], stack: str, layers: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights outside `stack`, and those of the chosen layers under their new numbers."""
    chosen = {name: tensor for name, tensor in weights.items() if not name.startswith(f"{stack}.")}
    for new, old in enumerate(layers):
        prefix = f"{stack}.{old}."
        chosen |= {
            f"{stack}.{new}.{name.removeprefix(prefix)}": tensor for name, tensor in weights.items() if name.startswith(prefix)
        }
    return chosen
