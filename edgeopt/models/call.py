"""Call any model in the same way: inputs by name, logits (and hidden states) as result."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeopt.batches import Array, Batch
from edgeopt.errors import ModelError


@dataclass(frozen=True)
class Outputs:
    """Outputs of a classifier: logits [N, classes]; on request hidden states, embeddings first, [N, sequence, hidden]."""

    logits: Tensor
    hidden: tuple[Tensor, ...] = ()


def call(model: nn.Module, inputs: Mapping[str, Tensor], *, hidden: bool = False) -> Outputs:
    """Run `model` on `inputs`.

    Raises:
        ModelError: hidden states are requested of a model without any, or the output is not a tensor of logits.
    """
    if hasattr(model, "config") and hasattr(model, "save_pretrained"):
        result = model(**inputs, output_hidden_states=hidden, return_dict=True)
        return Outputs(result["logits"], tuple(result["hidden_states"]) if hidden else ())
    if hidden:
        raise ModelError(
            f"{type(model).__name__} returns no hidden states; set the hidden-state loss to 0 or use a transformers model"
        )
    result = model(**inputs)
    if not isinstance(result, Tensor):
        raise ModelError(
            f"{type(model).__name__} returns {type(result).__name__}; a classifier must return its logits as one tensor"
        )
    return Outputs(result)


def cannot_take(error: Exception, batch: Batch, whose: str) -> ModelError:
    """Return what to raise when a model fails on its first samples."""
    given = ", ".join(f"{name} {list(values.shape)}" for name, values in batch.items())
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return ModelError(f"the {whose} cannot take the samples ({given}): {said}")


def named_outputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run `model` and return its tensors by name: a lone tensor is ``logits``, those of a tuple ``output_0``, ….

    Raises:
        ModelError: it returns no tensors.
    """
    if hasattr(model, "config") and hasattr(model, "save_pretrained"):
        result = model(**inputs, return_dict=True)
    else:
        result = model(**inputs)
    if isinstance(result, Tensor):
        return {"logits": result}
    if isinstance(result, list | tuple) and not hasattr(result, "_fields"):
        result = {f"output_{index}": value for index, value in enumerate(result)}
    elif hasattr(result, "_asdict"):
        result = result._asdict()
    named = (
        {str(name): value for name, value in result.items() if isinstance(value, Tensor)} if isinstance(result, Mapping) else {}
    )
    if not named:
        raise ModelError(
            f"{type(model).__name__} returns {type(result).__name__} without tensors; return a tensor, or some by name"
        )
    return named


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a model's outputs, however they are nested, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors_of(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors_of(inner)


def accepted(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the inputs `names` that a model's forward names; all where it names none of them."""
    parameters = inspect.signature(model.forward).parameters
    return tuple(name for name in names if name in parameters) or tuple(names)


def float_type(model: nn.Module) -> str:
    """Return the type of a model's weights as numpy calls it; float32 for types that numpy has not, and without weights."""
    kinds = {torch.float64: "float64", torch.float16: "float16"}
    return next((kinds.get(one.dtype, "float32") for one in model.parameters() if one.is_floating_point()), "float32")


def to_tensors(batch: Batch, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the arrays of `batch` as tensors on `device`."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in batch.items()}


@torch.inference_mode()
def predict(model: nn.Module, batch: Batch) -> Array:
    """Return the logits of `batch` as a float32 array [N, classes]; the model is put into evaluation mode."""
    model.eval()
    return np.asarray(call(model, to_tensors(batch)).logits.float().cpu().numpy())
