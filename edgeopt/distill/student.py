"""A transformers student made from its teacher: some of the teacher's layers, everything else copied.

As in Sanh et al. (2019), "DistilBERT", https://arxiv.org/abs/1910.01108, section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from edgeopt.errors import ModelError, RecipeError


def keep_layers(teacher: nn.Module, layers: Sequence[int]) -> nn.Module:
    """Return a new model of the teacher's class with only the teacher's `layers` (from 0), in that order.

    Raises:
        ModelError: the teacher is not a transformers model with one stack of layers.
        RecipeError: there is no such layer, or none is kept.
    """
    config = getattr(teacher, "config", None)
    count = getattr(config, "num_hidden_layers", None)
    if config is None or count is None:
        raise ModelError(f"{type(teacher).__name__} has no layers to choose from; name the student by distill.source")
    if not layers or any(not 0 <= layer < count for layer in layers):
        raise RecipeError(
            f"distill.layers is {list(layers)}: the teacher has layers 0 to {count - 1}, at least one must be kept"
        )
    stack = _stack(teacher, count)
    smaller = copy.deepcopy(config)
    smaller.num_hidden_layers = len(layers)
    student = type(teacher)(smaller)
    student.load_state_dict(_chosen(teacher.state_dict(), stack, layers))
    return student


def _stack(model: nn.Module, count: int) -> str:
    """Return the name of the one list of `count` layers."""
    names: list[str] = [
        name for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if len(names) != 1:
        raise ModelError(
            f"{type(model).__name__} has {len(names)} stacks of {count} layers; layers can be chosen only from one"
        )
    return names[0]


def _chosen(weights: dict[str, object], stack: str, layers: Sequence[int]) -> dict[str, object]:
    """Return the weights outside `stack`, and those of the chosen layers under their new numbers."""
    chosen = {name: tensor for name, tensor in weights.items() if not name.startswith(f"{stack}.")}
    for new, old in enumerate(layers):
        prefix = f"{stack}.{old}."
        chosen |= {
            f"{stack}.{new}.{name.removeprefix(prefix)}": tensor for name, tensor in weights.items() if name.startswith(prefix)
        }
    return chosen
