"""The optimizer of a training: parameter groups, frozen parts, optimizers by name or from user code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeopt.errors import RecipeError
from edgeopt.train.config import ParameterGroup, TrainOptions
from edgeopt.user_code import named

_KINDS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "rmsprop": torch.optim.RMSprop,
    "adafactor": torch.optim.Adafactor,
}
SCALE = "rate_scale"
"""Key of a parameter group: its learning rate as a multiple of the schedule's."""


def freeze(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Stop the training of the parameters whose name one of the `patterns` is found in; return their names.

    Normalisation layers all of whose parameters are frozen keep their running statistics (`set_training`).

    Raises:
        RecipeError: a pattern matches nothing, or nothing would be left to train.
    """
    frozen = []
    for pattern in patterns:
        matching = [name for name, _ in model.named_parameters() if _found(pattern, name, "train.freeze")]
        if not matching:
            raise RecipeError(f"train.freeze: no parameter's name contains '{pattern}'; they are called such as {_some(model)}")
        frozen += matching
    parameters = dict(model.named_parameters())
    for name in frozen:
        parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise RecipeError("train.freeze leaves no parameter to train; remove a pattern")
    return frozen


def set_training(model: nn.Module) -> None:
    """Put `model` into training mode, but not the normalisations whose parameters are all frozen or that were folded."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        frozen = "Norm" in type(module).__name__ and own and not any(parameter.requires_grad for parameter in own)
        if frozen or is_folded(module):
            module.eval()


def is_folded(module: nn.Module) -> bool:
    """Return whether `module` is a batch normalisation folded into the layer before it: mean 0, variance 1, and a bias.

    Models that come from an inference format are like that. With the statistics of a batch they would compute something else.
    A fresh batch normalisation has no bias yet.
    """
    if not isinstance(module, _BatchNorm) or module.running_mean is None or module.running_var is None or module.bias is None:
        return False
    neutral = not module.running_mean.any() and bool((module.running_var == 1).all())
    return neutral and bool(module.bias.detach().any())


def make_optimizer(model: nn.Module, learned: nn.Module | None, options: TrainOptions) -> torch.optim.Optimizer:
    """Return the optimizer of the trained parameters of `model`, and of what the objective learns along.

    Vectors (biases, normalisations) get no weight decay.

    Raises:
        RecipeError: a group matches nothing, or the user's optimizer cannot be made.
    """
    highest = options.learning_rate or 0.0
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    used: set[str] = set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        group = next((item for item in options.groups if _found(item.match, name, "train.groups")), ParameterGroup(match=""))
        used.add(group.match)
        found.setdefault(_settings(group, parameter, options), []).append(parameter)
    for parameter in learned.parameters() if learned is not None else ():
        found.setdefault(_settings(ParameterGroup(match=""), parameter, options), []).append(parameter)
    for group in options.groups:
        if group.match not in used:
            raise RecipeError(f"train.groups: no trained parameter is of the group '{group.match}'; names: {_some(model)}")
    if not found:
        raise RecipeError("the model has no parameter to train: all are frozen")
    groups = [
        {"params": parameters, "lr": rate, "weight_decay": decay, SCALE: rate / highest}
        for (rate, decay), parameters in found.items()
    ]
    if ":" not in options.optimizer:
        return _KINDS[options.optimizer](groups, lr=highest)
    return _own(options.optimizer, groups, highest)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of every group to its multiple of `value`."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get(SCALE, 1.0)


def _settings(group: ParameterGroup, parameter: nn.Parameter, options: TrainOptions) -> tuple[float, float]:
    decay = options.weight_decay if group.weight_decay is None else group.weight_decay
    return group.learning_rate or options.learning_rate or 0.0, decay if parameter.ndim > 1 else 0.0


def _own(name: str, groups: list[dict[str, Any]], rate: float) -> torch.optim.Optimizer:
    try:
        with named(name, stay=True) as make:
            optimizer = make(groups, rate)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise RecipeError(f"train.optimizer {name}: cannot be made: {error}") from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise RecipeError(f"train.optimizer {name}: returns {type(optimizer).__name__}, not an optimizer")
    return optimizer


def _found(pattern: str, name: str, where: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise RecipeError(f"{where}: '{pattern}' is not a regular expression: {error}") from error


def _some(model: nn.Module) -> str:
    return ", ".join(name for name, _ in list(model.named_parameters())[:3])
