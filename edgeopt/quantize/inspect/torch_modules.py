"""torch → ONNX, module by module: which module's output occurs nowhere in the ONNX graph?

Names do not survive an export, values do. The graph runs unoptimised with all of its tensors as outputs; the output of each
leaf module, in the order they run, is looked up among the tensors with as many elements (layouts may differ by axes of size 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.graph.files import load
from edgeopt.graph.matching import name_of, names_of
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.inspect.diagnosis import LIMITS_DB, Step
from edgeopt.quantize.sqnr import CEILING_DB, Noise

if TYPE_CHECKING:
    from torch import nn

_NAME = "torch → onnx"


def diagnose_export(module: nn.Module, model: Path, batches: Sequence[Batch], *, limit_db: float = LIMITS_DB[_NAME]) -> Step:
    """Compare a PyTorch module with the ONNX file exported from it, on the first of `batches`.

    Returns:
        The step; its `tensor` is the first module whose output no ONNX tensor equals, with the SQNR of the nearest one.

    Raises:
        ModelError: the file cannot be read.
    """
    loaded = load(model)
    batch = batches[0]
    modules, outputs = _modules(module, batch)
    names = [name for node in loaded.graph for name in names_of(node.outputs)]
    tensors = run(open_exposed(loaded, names, threads=1, optimize=False), names, batch, sample=0)
    floats = [value for value in tensors.values() if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)]
    given = [tensors[name] for name in names_of(loaded.graph.outputs)]
    output_db = min((max((_db(want, got) for got in given), default=-CEILING_DB) for want in outputs), default=CEILING_DB)
    if output_db >= limit_db:
        return Step(_NAME, output_db, limit_db)
    for name, want in modules:
        nearest = max((_db(want, value) for value in floats if value.size == want.size), default=-CEILING_DB)
        if nearest < limit_db:
            return Step(_NAME, output_db, limit_db, name, nearest, name, f"look at the export of module '{name}'")
    return Step(
        _NAME,
        output_db,
        limit_db,
        name_of(loaded.graph.outputs[0]),
        output_db,
        None,
        "the difference lies behind the last module",
    )


def _db(want: Array, got: Array) -> float:
    if want.size != got.size:
        return -CEILING_DB
    noise = Noise()
    noise.add(want.reshape(-1), np.asarray(got).reshape(-1))
    return noise.db


def _modules(module: nn.Module, batch: Batch) -> tuple[list[tuple[str, Array]], list[Array]]:
    """Return the output of every leaf module in the order they ran, and the outputs of the whole."""
    import torch

    from edgeopt.models.call import to_tensors

    seen: list[tuple[str, Array]] = []

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                seen.append((name, output.detach().float().numpy().copy()))

        return hook

    leaves = [(name, child) for name, child in module.named_modules() if name and not list(child.children())]
    handles = [child.register_forward_hook(watch(name)) for name, child in leaves]
    try:
        with torch.inference_mode():
            result = module.eval()(**to_tensors(batch))
    finally:
        for handle in handles:
            handle.remove()
    return seen, [value.float().numpy() for value in _tensors(result)]


def _tensors(result: Any) -> list[Any]:
    import torch

    if isinstance(result, torch.Tensor):
        return [result] if result.is_floating_point() else []
    values = result.values() if hasattr(result, "values") else result if isinstance(result, tuple | list) else []
    return [tensor for value in values for tensor in _tensors(value)]
