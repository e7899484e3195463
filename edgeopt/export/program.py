"""A module made traceable: its inputs by position, its outputs as plain named tensors.

torch.export traces what a module's forward returns. Models of the transformers library return dictionaries which also hold
hidden states or caches, others a tensor, a tuple or a dict of tensors; `Program` gives all of them one shape, so that inputs
and outputs have the names users know and nothing else becomes an output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import ml_dtypes
import numpy as np
import torch

from edgeopt.data.batches import Array, Batch
from edgeopt.errors import DataError, ModelError, nearest
from edgeopt.export.axes import Axes, summed


class Program(torch.nn.Module):
    """Calls `module` with the inputs called `inputs`; `forward` takes and returns tensors by position.

    Attributes:
        outputs: names of what `forward` returns, known after `name_outputs`.
    """

    def __init__(self, module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str] = ()) -> None:
        super().__init__()
        self.module = module
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._ties: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def tie_axes(self, axes: Axes) -> None:
        """Promise torch that axes of one name are equal; otherwise each input would get a size symbol of its own."""
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
        produced = named_tensors(self.module(**dict(zip(self.inputs, values, strict=True))))
        return tuple(produced[name] for name in self.outputs)

    def name_outputs(self, example: Sequence[torch.Tensor], wanted: Sequence[str] = ()) -> None:
        """Run once and keep the names of the outputs, or those of them that are `wanted`.

        Raises:
            ModelError: an output that is wanted does not exist, or the module refuses the inputs.
        """
        names = _run(self.module, dict(zip(self.inputs, example, strict=True)))
        for name in wanted:
            if name not in names:
                raise ModelError(
                    f"{type(self.module).__name__} has no output '{name}'{nearest(name, names)}; it gives: {', '.join(names)}"
                )
        self.outputs = tuple(wanted) or tuple(names)

    def run(self, batch: Batch) -> dict[str, Array]:
        """Return PyTorch's outputs for `batch`, by name."""
        with torch.no_grad():
            produced = self(*tensors(batch, self.inputs))
        return {name: to_array(value) for name, value in zip(self.outputs, produced, strict=True)}


def _run(module: torch.nn.Module, example: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    try:
        with torch.no_grad():
            return named_tensors(module(**example))
    except (TypeError, RuntimeError, IndexError, ValueError) as error:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in example.items())
        advice = "samples must be named as its forward() names them"
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        if "without overflow" in reason:  # torch's words for a number such as -1e9 in the model's code
            advice = "write torch.finfo(x.dtype).min for it, or export as bfloat16 or float32"
        raise ModelError(f"{type(module).__name__} cannot run on the samples ({shapes}): {reason}; {advice}") from error


def named_tensors(produced: object) -> dict[str, torch.Tensor]:
    """Return the tensors in what a forward() gave: by the keys of a dict, else as ``output`` or ``output_0``, ``output_1``."""
    if isinstance(produced, torch.Tensor):
        return {"output": produced}
    if isinstance(produced, Mapping):
        return {str(name): value for name, value in produced.items() if isinstance(value, torch.Tensor)}
    if isinstance(produced, tuple | list):
        values = [value for value in produced if isinstance(value, torch.Tensor)]
        return {"output": values[0]} if len(values) == 1 else {f"output_{index}": value for index, value in enumerate(values)}
    raise ModelError(f"forward() returns {type(produced).__name__}; a tensor, or a tuple or dict of tensors, can be exported")


def tensors(batch: Batch, names: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """Return the arrays of `batch` called `names` as tensors (copies, so that read-only arrays are welcome)."""
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
    """Put `module` into evaluation mode and leave each part as it was found."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
