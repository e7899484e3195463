"""Save and rebuild transformers models of another shape than their configuration says: configuration + shape + weights.

Such a model's model.json has the builder `BUILDER` and as arguments the class, the configuration of the whole model and the
shape (`edgeopt.models.reshape`). Nothing in it is code: the class must be one of transformers' own for that configuration, the
configuration may not name code, and everything is first built without memory, so that a file cannot ask for more than a
multiple of what its weights take.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.models.kept import Kept
from edgeopt.models.pretrained import check_layers, check_size
from edgeopt.models.reshape import Empty, Shape, reshape, share_again, shared_parameters

BUILDER = "edgeopt.models.reshaped:rebuild"


class _Empty(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    outputs: int = Field(ge=0, le=16)
    whole: bool
    width: int = Field(ge=1, le=16)


class _Arguments(BaseModel):
    """Arguments in the model.json of a reshaped model."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)

    class_name: str = Field(alias="class")
    config: dict[str, Any]
    layers: dict[str, list[int]] = Field(default_factory=dict)
    empty: dict[str, _Empty] = Field(default_factory=dict)
    sizes: dict[str, dict[str, int]] = Field(default_factory=dict)
    cache_heads: list[int] = Field(default_factory=list)


def arguments_of(model: nn.Module, config: Any, shape: Shape) -> dict[str, Any]:
    """Return the arguments with which `rebuild` makes `model` again; `config` is that of the whole model."""
    return {
        "class": type(model).__name__,
        "config": json.loads(config.to_json_string(use_diff=False)),
        "layers": {name: list(chosen) for name, chosen in shape.layers.items()},
        "empty": {name: vars(kind) for name, kind in shape.empty.items()},
        "sizes": {name: dict(values) for name, values in shape.sizes.items()},
        "cache_heads": list(shape.cache_heads),
    }


def shape_of(arguments: Mapping[str, Any], kept: Kept) -> Shape:
    """Return the shape in the arguments of a model.json.

    Raises:
        ModelError: the arguments have the wrong form.
    """
    found = _read(arguments)
    empty = {name: Empty(kind.outputs, kind.whole, kind.width) for name, kind in found.empty.items()}
    return Shape(found.layers, kept, empty, found.sizes, found.cache_heads)


def whole_config(arguments: Mapping[str, Any]) -> Any:
    """Return the transformers configuration of the whole model.

    Raises:
        ModelError: there is no such kind of model, or the configuration names code.
    """
    import transformers

    values = dict(_read(arguments).config)
    if "auto_map" in values or any("/" in str(value) for key, value in values.items() if "implementation" in key):
        raise ModelError("its configuration names code, which is not run")
    kind = values.pop("model_type", None)
    try:
        return transformers.AutoConfig.for_model(str(kind), **values)
    except Exception as error:  # (its checks of fields raise classes of their own)
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"its configuration of the kind '{kind}' cannot be read: {said}") from error


def rebuild(arguments: Mapping[str, Any], kept: Kept, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return the model with its `weights`, in evaluation mode.

    Raises:
        ModelError: the arguments have the wrong form, name another class, or do not fit the weights.
    """
    check_layers(_read(arguments).config, len(weights))
    config = whole_config(arguments)
    make = _class(_read(arguments).class_name, config)
    shape = shape_of(arguments, kept)
    with torch.device("meta"):
        bare = _made(make, config)
    check_size(bare, sum(tensor.numel() for tensor in weights.values()))
    reshape(bare, shape)
    _check_fits(bare, weights)
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        module = _made(make, whole_config(arguments))
    reshape(module, shape)
    try:
        module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:  # (a weight of integers where floating-point ones are trained)
        said = str(error).splitlines()[-1].strip()[:200]
        raise ModelError(f"its weights do not fit {make.__name__}: {said}") from error
    share_again(module, shared_parameters(bare))
    return module.float().eval()


def own_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of `model` as they go into a file, once where the configuration shares them."""
    known = set(getattr(model, "all_tied_weights_keys", None) or ())
    twice = {name for _, *others in shared_parameters(model) for name in others if known & {name, *_}}
    return {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items() if name not in twice}


def _read(arguments: Mapping[str, Any]) -> _Arguments:
    try:
        return _Arguments.model_validate(dict(arguments))
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(f"its arguments cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _class(name: str, config: Any) -> type[nn.Module]:
    import transformers

    found: Any = getattr(transformers, name, None)
    kind: type[nn.Module] | None = (
        found if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) else None
    )
    if kind is None:
        raise ModelError(f"'{name}' is not one of transformers' models")
    if not isinstance(config, getattr(kind, "config_class", None) or ()):
        raise ModelError(f"'{name}' is not a model of the kind '{config.model_type}'")
    return kind


def _made(make: type[nn.Module], config: Any) -> nn.Module:
    try:
        return make(config)
    except (ValueError, TypeError, RuntimeError, AttributeError, KeyError, IndexError, ArithmeticError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{make.__name__} cannot be built from its configuration: {said[:200]}") from error


def _check_fits(bare: nn.Module, weights: Mapping[str, Tensor]) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in bare.state_dict().items()}
    twice = {name for _, *others in shared_parameters(bare) for name in others}
    for name, shape in wanted.items():
        if name not in weights and name not in twice:
            raise ModelError(f"its weights do not fit {type(bare).__name__}: {name} is missing")
        if name in weights and tuple(weights[name].shape) != shape:
            raise ModelError(
                f"its weights do not fit {type(bare).__name__}: {name} is {list(weights[name].shape)}, not {list(shape)}"
            )
    for name in weights:
        if name not in wanted:
            raise ModelError(f"its weights do not fit {type(bare).__name__}: {name} is not one of them")
