"""Golden samples: inputs recorded with the model's outputs, and tolerances for other machines.

Idea. Bit-equal outputs are not promised across machine classes: kernels sum in another order, and a QDQ graph may run as int8
kernels here and as float arithmetic there. One machine can run both: the optimised graph and the graph as written
(optimisation off). Their largest difference over the golden samples, times `MARGIN`, is the measured tolerance; it is never
smaller than a floor, a share of the output's largest magnitude by the model's arithmetic (`FLOORS`), because one machine shows
only two of the many ways.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Array, Batch, Batches
from edgeopt.bundle.spec import Tolerance
from edgeopt.bundle.verify import device_verify
from edgeopt.errors import DataError, ModelError, RecipeError, nearest
from edgeopt.graph.integer_operators import INTEGER_OPERATORS
from edgeopt.graph.signature import Signature, TensorSpec

MARGIN = 4.0
"""How many times the recorded difference a tolerance is."""
FLOORS = {"float32": 1e-4, "float16": 5e-3, "integer": 2e-2}
"""The least tolerance by arithmetic, as a share of the largest magnitude."""


@dataclass(frozen=True)
class Golden:
    """Recorded samples: inputs by name, outputs in the model's order, and for each output a tolerance with its reason.

    `shapes` has the axes of each output, `input_shapes` those of each input, as far as the file, onnxruntime or the samples
    know them.
    """

    inputs: tuple[dict[str, Array], ...]
    outputs: tuple[tuple[Array, ...], ...]
    tolerances: tuple[dict[str, Any], ...]
    shapes: tuple[tuple[int | str, ...], ...]
    input_shapes: tuple[tuple[int | str, ...], ...]


def record_golden(
    model: Path, batches: Batches, *, signature: Signature, arithmetic: str, labels: int, tolerances: Mapping[str, Tolerance]
) -> Golden:
    """Run the model at `model` on `batches` and record its outputs.

    Args:
        model: path of the ONNX file.
        batches: each batch is one sample.
        signature: of the model.
        arithmetic: "float32", "float16" or "integer", see `arithmetic_of`.
        labels: number of classes; an output whose last axis has this size must keep its best class. 0: no output must.
        tolerances: given ones, by output name.
    """
    _refuse(model, signature, tolerances)
    samples = tuple(_checked(batch, index, signature) for index, batch in enumerate(batches))
    if not samples:
        raise DataError("no golden sample was given; a bundle needs at least 1 to verify itself")
    session = _session(model, optimize=True)
    outputs = _run(model, session, samples)
    reference = _run(model, _session(model, optimize=False), samples)
    for index, (values, others) in enumerate(zip(outputs, reference, strict=True)):
        for spec, value, other in zip(signature.outputs, values, others, strict=True):
            if value.dtype.kind == "f" and np.isnan(value).any():
                raise DataError(f"golden sample {index} makes output '{spec.name}' NaN; give another sample or fix the model")
            if value.shape != other.shape:
                raise DataError(
                    f"golden sample {index} makes output '{spec.name}' of the shape {list(value.shape)} in the optimised graph "
                    f"and {list(other.shape)} in the graph as written: its size hangs on a near-tie; give another sample"
                )
    judged = []
    for position, spec in enumerate(signature.outputs):
        here, plain = [[values[position] for values in runs] for runs in (outputs, reference)]
        tolerance, reason = _tolerance(here, plain, arithmetic, tolerances.get(spec.name))
        top1 = labels > 1 and all(value.ndim >= 2 and value.shape[-1] == labels for value in here)
        judged.append(
            {
                "output": spec.name,
                "absolute": tolerance.absolute,
                "relative": tolerance.relative,
                "top1": top1,
                "reason": reason,
            }
        )
    shapes = tuple(
        _shape(spec, found.shape, [values[position] for values in outputs])
        for position, (spec, found) in enumerate(zip(signature.outputs, session.get_outputs(), strict=True))
    )
    given = tuple(
        spec.shape if spec.ranked else ("?",) * _rank("input", spec, [sample[spec.name] for sample in samples])
        for spec in signature.inputs
    )
    return Golden(samples, outputs, tuple(judged), shapes, given)


def _rank(what: str, spec: TensorSpec, values: list[Array]) -> int:
    """Return the number of axes that an input or an output has in all samples."""
    ranks = {value.ndim for value in values}
    if len(ranks) > 1:
        raise ModelError(
            f"{what} '{spec.name}' has {' or '.join(map(str, sorted(ranks)))} axes, by the sample; a bundle needs one number"
        )
    return ranks.pop()


def _shape(spec: TensorSpec, inferred: list[Any], values: list[Array]) -> tuple[int | str, ...]:
    """Return an output's axes: names as the file has them, sizes as onnxruntime has them, else "?"."""
    rank = _rank("output", spec, values)
    declared = spec.shape if len(spec.shape) == rank else ("?",) * rank
    known = inferred if len(inferred) == rank else [None] * rank
    return tuple(_axis(have, want) for have, want in zip(known, declared, strict=True))


def _axis(inferred: Any, declared: int | str) -> int | str:
    if isinstance(declared, str) and declared != "?" and not (isinstance(inferred, str) and inferred):
        return declared
    if isinstance(inferred, str):
        return inferred or "?"
    return inferred if isinstance(inferred, int) and inferred >= 0 else "?" if isinstance(declared, str) else declared


def _refuse(model: Path, signature: Signature, tolerances: Mapping[str, Tolerance]) -> None:
    """Raise an error for tolerances of unknown outputs, and for models with inputs or outputs that are not tensors."""
    unknown = sorted(set(tolerances) - {output.name for output in signature.outputs})
    if unknown:
        names = [output.name for output in signature.outputs]
        raise RecipeError(f"tolerance for '{unknown[0]}'{nearest(unknown[0], names)}; outputs are: {', '.join(names)}")
    names = [output.name for output in signature.outputs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ModelError(
            f"{model}: output '{twice}' is listed twice; a bundle compares outputs by their names: export it again"
        )
    other = [tensor.name for tensor in (*signature.inputs, *signature.outputs) if tensor.dtype == "sequence"]
    if other:
        raise ModelError(
            f"{model}: '{other[0]}' is a sequence or a map; a bundle holds models whose inputs and outputs are tensors"
        )
    for tensor in (*signature.inputs, *signature.outputs):
        if not tensor.is_array:
            raise ModelError(
                f"{model}: '{tensor.name}' is of the type {tensor.dtype}, which numpy does not have; a bundle needs another one"
            )


def arithmetic_of(*models: ir.Model) -> str:
    """Return "integer" if one of the graphs is quantized, "float16" if one has half-precision weights, else "float32"."""
    if any(node.op_type in INTEGER_OPERATORS for model in models for node in model.graph):
        return "integer"
    halves = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    weights = (weight for model in models for weight in model.graph.initializers.values())
    return "float16" if any(weight.dtype in halves for weight in weights) else "float32"


def _checked(batch: Batch, index: int, signature: Signature) -> dict[str, Array]:
    expected = [spec.name for spec in signature.inputs]
    if sorted(batch) != sorted(expected):
        raise DataError(f"golden sample {index} has inputs {sorted(batch)}; the model takes {sorted(expected)}")
    sample = {spec.name: np.asarray(batch[spec.name], order="C") for spec in signature.inputs}
    for spec in signature.inputs:
        value = sample[spec.name]
        if value.dtype.name != spec.dtype or not spec.fits(value.shape):
            allowed = f"{spec.dtype}{list(spec.shape)}" if spec.ranked else spec.dtype
            raise DataError(
                f"golden sample {index}: input '{spec.name}' is {value.dtype.name}{list(value.shape)}; {allowed} is allowed"
            )
        if value.dtype.kind == "f" and np.isnan(value).any():
            raise DataError(f"golden sample {index}: input '{spec.name}' holds NaN; remove the sample")
    return sample


def _session(model: Path, *, optimize: bool) -> Any:
    try:
        return device_verify().open_model(str(model), optimize=optimize)
    except Exception as error:  # onnxruntime's error classes have no public common base
        raise ModelError(f"{model}: onnxruntime does not load it: {_first_line(error)}") from error


def _run(model: Path, session: Any, samples: tuple[dict[str, Array], ...]) -> tuple[tuple[Array, ...], ...]:
    results = []
    for index, sample in enumerate(samples):
        try:
            results.append(tuple(np.asarray(value) for value in session.run(None, sample)))
        except Exception as error:
            raise ModelError(f"{model}: golden sample {index} does not run: {_first_line(error)}") from error
    return tuple(results)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _tolerance(here: list[Array], plain: list[Array], arithmetic: str, given: Tolerance | None) -> tuple[Tolerance, str]:
    """Return the tolerance of one output with its reason, from its values in the optimised and the plain graph."""
    if given is not None:
        return given, "given"
    if here[0].dtype.kind != "f":
        return Tolerance(0.0), "integers and texts must be equal"
    difference = max((_largest(np.abs(a - b)) for a, b in zip(_wide(here), _wide(plain), strict=True)), default=0.0)
    peak = max(_largest(np.abs(value)) for value in _wide(here))
    floor = FLOORS[arithmetic] * peak
    absolute = float(f"{max(floor, MARGIN * difference):.3g}")
    reason = (
        f"the larger of {MARGIN:g} × {difference:.3g} (optimised against plain graph) "
        f"and {FLOORS[arithmetic]:g} × {peak:.3g} (largest magnitude, {arithmetic} arithmetic)"
    )
    return Tolerance(absolute), reason


def _wide(values: list[Array]) -> list[Array]:
    return [np.where(np.isfinite(value), value, 0).astype(np.float64) for value in values]


def _largest(value: Array) -> float:
    return float(value.max()) if value.size else 0.0


def write_golden(golden: Golden, path: Path, *, signature: Signature) -> None:
    """Write the samples to `path` as an .npz without pickles: one entry per sample and tensor, always the same bytes."""
    name = device_verify().entry_name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (inputs, outputs) in enumerate(zip(golden.inputs, golden.outputs, strict=True)):
            for position, spec in enumerate(signature.inputs):
                _write_array(archive, name(index, "input", position), inputs[spec.name])
            for position, value in enumerate(outputs):
                _write_array(archive, name(index, "output", position), value)


def _write_array(archive: zipfile.ZipFile, name: str, value: Array) -> None:
    buffer = io.BytesIO()
    plain = value.astype(str) if value.dtype.kind == "O" else value
    np.lib.format.write_array(buffer, np.asarray(plain, order="C"), allow_pickle=False)
    info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, buffer.getvalue())
