"""Trace a module to an ONNX graph: torch.export, then torch's ONNX exporter, with errors that a user can act on."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import warnings
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir
import torch
from torch.export import Dim, ExportedProgram

from edgeopt.errors import ModelError
from edgeopt.export.axes import Axes, summed
from edgeopt.export.exact_numbers import exact_numbers
from edgeopt.export.naming import name_ends
from edgeopt.export.program import Program
from edgeopt.export.recurrent import any_number_of_steps
from edgeopt.export.translations import translations

_OTHERS = tuple(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, __file__))
_TALKATIVE = ("torch.onnx", "torch.fx", "torch.export", "torch._dynamo", "onnxscript", "onnx_ir")


def trace(program: Program, example: Sequence[torch.Tensor], axes: Axes) -> ExportedProgram:
    """Run `program` once on `example` and record it with symbolic `axes`.

    Args:
        program: in evaluation mode, its outputs named.
        example: one tensor per input; every dynamic axis at least 2 long, because torch treats 0 and 1 as constants.
        axes: the dynamic axes by input; one name means one size.

    Raises:
        ModelError: the model's Python depends on values or sizes in a way that cannot be recorded; the message names the line.
    """
    shapes = tuple(dict.fromkeys(axes[name], Dim.DYNAMIC) for name in program.inputs)
    program.tie_axes(axes)
    try:
        with quiet(), torch.no_grad(), any_number_of_steps():
            return torch.export.export(program, tuple(example), dynamic_shapes=(shapes,), strict=False)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_explain(program, error)) from error


def to_onnx(
    program: Program, traced: ExportedProgram, axes: Axes, *, opset: int, attention: Literal["fused", "decomposed"]
) -> tuple[ir.Model, ExportedProgram]:
    """Return the ONNX graph of `traced`, and torch's intermediate program (for finding where outputs diverge).

    Raises:
        ModelError: an operator has no ONNX form or draws random numbers, or torch gave an axis that was asked to be dynamic a
            fixed size.
    """
    names = {name for dynamic in axes.values() for name in dynamic.values()}
    dims = {name: Dim.AUTO if summed(name) else Dim(name) for name in sorted(names)}
    shapes = tuple({axis: dims[name] for axis, name in axes[input_name].items()} for input_name in program.inputs)
    table = translations(attention)
    try:
        with quiet(), any_number_of_steps(), exact_numbers():
            converted = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=opset,
                custom_translation_table=table,
                dynamic_shapes=(shapes,),
                verbose=False,
            )
    except Exception as error:
        raise ModelError(_missing(program, traced, error) or _explain(program, error)) from error
    if converted is None or converted.exported_program is None:
        raise ModelError(f"{type(program.module).__name__}: torch's exporter returned nothing")
    _refuse_random(program, converted.exported_program, table)
    name_ends(converted.model, program.inputs, program.outputs)
    _check_dynamic(converted.model.graph, axes)
    return converted.model, converted.exported_program


def _check_dynamic(graph: ir.Graph, axes: Axes) -> None:
    for value in graph.inputs:
        for axis, name in axes.get(value.name or "", {}).items():
            size = value.shape[axis] if value.shape is not None else None
            if isinstance(size, int):
                raise ModelError(
                    f"axis {axis} ('{name}') of input '{value.name}' became the constant {size}, which the model's code "
                    f"needs; fix it with shapes, or change the code"
                )


def _refuse_random(program: Program, exported: ExportedProgram, translated: Container[object]) -> None:
    """Refuse operators that draw numbers; those `translated` here draw none in evaluation, as dropouts."""
    for node in exported.graph.nodes:
        draws = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        if draws and node.target not in translated and "dropout" not in str(node.target):
            raise ModelError(
                f"{type(program.module).__name__}: it draws random numbers ({node.target}{_where(node)}), which no file can be "
                f"proven to repeat; draw them outside and pass them as an input"
            )


def _missing(program: Program, traced: ExportedProgram, error: Exception) -> str:
    """Return one line about an operator without an ONNX form and where it is called; "" if that is not the error."""
    found = re.search(r"No\sONNX\sfunction\sfound\sfor\s<OpOverload\(op='([\w.]+)',\soverload='(\w+)'", str(error))
    if found is None:
        return ""
    called = f"{found[1]}.{found[2]}"
    nodes = [*traced.graph.nodes, *_decomposed(traced)]
    line = next((_where(node) for node in nodes if str(node.target) == called), "")
    return (
        f"{type(program.module).__name__}: torch's operator {found[1]} has no ONNX form{line}; write it with others that "
        f"have one, compute it outside the module, or name outputs that do not need it (option 'outputs')"
    )


def _decomposed(traced: ExportedProgram) -> Iterator[torch.fx.Node]:
    """Yield the nodes of the program in torch's core operators, as far as torch can write it so."""
    with contextlib.suppress(Exception), quiet():
        yield from traced.run_decompositions().graph.nodes


def _where(node: torch.fx.Node) -> str:
    return _line(str(node.meta.get("stack_trace", "")), None)


def _explain(program: Program, error: Exception) -> str:
    """Return one line: what cannot be exported, where in the model's source, and what to do."""
    name = type(program.module).__name__
    text = str(error)
    special = re.search(r"marked L\['values'\]\[(\d+)\]\.size\(\)\[(\d+)\] as dynamic but .*?constant \((\d+)\)", text)
    if special:
        return (
            f"{name}: axis {special[2]} of input '{program.inputs[int(special[1])]}' should be dynamic, but the model's code "
            f"fixes it at {special[3]}{_line(text, error)}; give that input a fixed shape, or change the code"
        )
    if "_pack_padded_sequence" in text or "pack_padded_sequence" in _called(error):
        return (
            f"{name}: packed sequences have no ONNX form{_line(text, error)}; give the padded batch to the layer, and "
            f"take each sequence's own steps from its output"
        )
    if type(error).__name__ in {"GuardOnDataDependentSymNode", "UserError"} or "data-dependent" in text:
        return (
            f"{name}: its control flow depends on the values of a tensor{_line(text, error)}; "
            f"write it with torch.where or torch.cond, or export the part without it"
        )
    summary = text.rsplit("## Exception summary", maxsplit=1)[-1]  # torch's own advice comes before it
    first = next((line.strip() for line in summary.splitlines() if line.strip()), type(error).__name__)
    return f"{name} cannot be exported{_line(text, error)}: {type(error).__name__}: {first[:300]}"


def _line(text: str, error: BaseException | None) -> str:
    """Return " (file:line: code)" of the innermost frame of the model's own source, from the message or the traceback."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in \S+\n\s+([^\n]+)', text)
    for file, line, code in reversed(frames):
        if _of_the_model(file):
            return f" ({file}:{line}: {code.strip()[:100]})"
    seen = ""
    cause = error
    while cause is not None:
        step = cause.__traceback__
        while step is not None:
            file = step.tb_frame.f_code.co_filename
            if _of_the_model(file):
                seen = f" ({file}:{step.tb_lineno} in {step.tb_frame.f_code.co_name})"
            step = step.tb_next
        cause = cause.__cause__
    return seen


def _called(error: BaseException | None) -> set[str]:
    """Return the names in the model's functions that an error passed through."""
    found: set[str] = set()
    while error is not None:
        step = error.__traceback__
        while step is not None:
            code = step.tb_frame.f_code
            found.update(code.co_names if _of_the_model(code.co_filename) else ())
            step = step.tb_next
        error = error.__cause__ or error.__context__
    return found


def _of_the_model(file: str) -> bool:
    """Return whether the source `file` is neither torch's nor this package's, whose functions replace the model's."""
    return not file.startswith((*_OTHERS, "<"))


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress torch's internal messages; what matters is raised or checked afterwards."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before: list[Any] = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # torch prints the incomplete graph there
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
