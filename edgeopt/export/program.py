"""A traceable module: inputs by position, outputs as plain named tensors.

torch.export traces what a module's forward returns. Models of the transformers library return dictionaries which also hold
hidden states or caches, others a tensor, or tensors in tuples, lists and dicts; `Program` gives all of them one shape, so that
inputs and outputs have meaningful names (`trees`).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import ml_dtypes
import numpy as np
import torch

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError, EdgeoptError, ModelError, nearest
from edgeopt.export.axes import Axes, summed
from edgeopt.export.inference import WithoutDropout, padding_seen
from edgeopt.export.nested_outputs import arguments, left_out, named_tensors


class Program(torch.nn.Module):
    """Calls `module` with the inputs called `inputs`; `forward` takes and returns tensors by position.

    Attributes:
        outputs: names of the outputs of `forward`, known after `name_outputs`; none is the name of an input.
        remarks: differences between the module and the export, for the report.
    """

    def __init__(self, module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str] = ()) -> None:
        super().__init__()
        self.module = module
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.remarks: tuple[str, ...] = ()
        self._paths = self.outputs
        self._without_dropout = False
        self._ties: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def tie_axes(self, axes: Axes) -> None:
        """Assert to torch that axes with one name are equal; otherwise each input would get its own size symbol."""
        first: dict[str, tuple[int, int]] = {}
        self._ties = []
        for index, name in enumerate(self.inputs):
            for axis, axis_name in axes[name].items():
                if summed(axis_name):
                    continue
                other = first.setdefault(axis_name, (index, axis))
                if other != (index, axis):
                    self._ties.append((other, (index, axis)))

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the chosen outputs."""
        for (left, left_axis), (right, right_axis) in self._ties:
            torch._check(values[left].shape[left_axis] == values[right].shape[right_axis])  # type: ignore[no-untyped-call]
        with WithoutDropout() if self._without_dropout else nullcontext():
            produced = named_tensors(_call(self.module, dict(zip(self.inputs, values, strict=True))))
        return tuple(produced[name] for name in self._paths)

    def name_outputs(self, example: Sequence[torch.Tensor], wanted: Sequence[str] = ()) -> None:
        """Run once and store the names of the outputs, or of those in `wanted`.

        Raises:
            ModelError: a requested output does not exist, or the module fails on the inputs or returns no tensor.
        """
        dropout = WithoutDropout()
        with dropout, padding_seen(self.module) as padding:
            produced = _run(self.module, dict(zip(self.inputs, example, strict=True)))
        names = named_tensors(produced)
        for name in wanted:
            if name not in names:
                raise ModelError(
                    f"{type(self.module).__name__} has no output '{name}'{nearest(name, names)}; it has: {', '.join(names)}"
                )
        if not names:
            raise ModelError(f"{type(self.module).__name__}: forward() returns no tensor; there is nothing to export")
        for name in wanted or names:
            if names[name].is_complex():
                raise ModelError(
                    f"{type(self.module).__name__}: the output '{name}' is complex, which onnxruntime has no type for; "
                    "return torch.view_as_real of it"
                )
        self._paths = tuple(wanted) or tuple(names)
        self._without_dropout = dropout.seen
        self.outputs = _apart(self._paths, self.inputs)
        self.remarks = (
            *(f"not a tensor, so no output of the file: {what}" for what in ([] if wanted else left_out(produced))),
            *(
                f"the output '{path}' is called '{name}' in the file, because an input has its name"
                for path, name in zip(self._paths, self.outputs, strict=True)
                if path != name
            ),
            *(["a dropout with training=True is left out; pass training=self.training"] if dropout.seen else []),
            *padding,
        )

    def run(self, batch: Batch) -> dict[str, Array]:
        """Return PyTorch's outputs for `batch`, by name."""
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warnings about its own kernels
            produced = self(*tensors(batch, self.inputs))
        return {name: to_array(value) for name, value in zip(self.outputs, produced, strict=True)}


def _apart(paths: Sequence[str], inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of outputs in the graph, where inputs and outputs share one namespace."""
    taken = {*inputs, *paths}
    names = []
    for path in paths:
        name = path
        while path in inputs and name in taken:
            name = f"{name}_out"
        taken.add(name)
        names.append(name)
    return tuple(names)


def _call(module: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> object:
    """Return the result of `module` for inputs by name, or by position for a forward(*tensors)."""
    parameters = inspect.signature(module.forward).parameters
    given = arguments(values, parameters)
    several = any(parameter.kind == inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
    return module(*given.values()) if several and not given.keys() & parameters.keys() else module(**given)


def _run(module: torch.nn.Module, example: Mapping[str, torch.Tensor]) -> object:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _call(module, example)
    except EdgeoptError:
        raise
    except Exception as error:  # (the model's code may raise anything, such as an assertion about a shape)
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in example.items())
        advice = "samples must be named as its forward() names them"
        reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
        if "without overflow" in reason:  # torch's message for a number such as -1e9 in the model's code
            advice = "write torch.finfo(x.dtype).min for it, or export as bfloat16 or float32"
        raise ModelError(f"{type(module).__name__} cannot run on the samples ({shapes}): {reason}; {advice}") from error


def tensors(batch: Batch, names: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """Return the arrays of `batch` called `names` as tensors (copies, so that arrays may be read-only)."""
    for name in names:
        if name not in batch:
            raise DataError(f"a sample lacks the input '{name}'; it has: {', '.join(batch)}")
    return tuple(_tensor(np.array(batch[name])) for name in names)


def _tensor(array: Array) -> torch.Tensor:
    """Return a tensor on the memory of `array`; torch does not know numpy's bfloat16, but it knows those bits."""
    narrow = array.dtype == ml_dtypes.bfloat16
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if narrow else torch.from_numpy(array)


def to_array(tensor: torch.Tensor) -> Array:
    """Return `tensor` as an array; bfloat16, which numpy lacks, becomes float32."""
    tensor = tensor.detach()
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put `module` into evaluation mode while the block runs, and restore each part."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
