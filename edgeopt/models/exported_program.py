"""Load a torch.export program (``.pt2``) of a stranger without running anything of theirs, and call it by input names.

torch's own loader is no barrier: it unpickles weights, constants and sample inputs that say so, evaluates symbolic sizes with
sympy (which is `eval`), resolves an operator's name by walking attributes from `torch`, and imports modules that a tree of
inputs names. So the archive, a zip of JSON and raw bytes, is read here first, and everything but this is refused:

    weights, constants     raw tensors, no pickles, no script or opaque objects
    sample inputs          what ``torch.load(weights_only=True)`` accepts
    operators              torch.ops.aten and torch.ops.prims, arithmetic of `operator`, `math` and `torch.sym_*`
    sizes                  sums, products, quotients, minima and maxima of symbols and integers
    trees                  tuples, lists, dicts

The axes of the exported model are those of the program: what it has symbolic stays dynamic, equal symbols share a name.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeopt.data.batches import Array, Batch
from edgeopt.errors import ModelError
from edgeopt.models.no_pickles import no_pickles

Axes = dict[str, dict[int, str]]

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!_?save|_?load|from_file|print|_print)\w+\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_(int|float|min|max|not|ite|sqrt|sum)|torch\._check"
)
_ENTRY = re.compile(
    r"(data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder|\.data/\w+|extra/.*)"
)
_SYMBOL = re.compile(r"[suz]\d+|int_oo|oo")
_SIZE_CALLS = frozenset(
    {"Symbol", "Integer", "Rational", "Add", "Mul", "Pow", "Min", "Max", "Abs"}
    | {"Mod", "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "CeilToInt", "FloorToInt"}
)
_SIZE_NODES = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Load)
_TREES = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
_MOST_JSON_BYTES = 2**28
_UNREADABLE = (OSError, EOFError, ValueError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error)


class LoadedProgram(torch.nn.Module):
    """A program called by names; in the mode it was exported in, whatever `train` and `eval` say."""

    def __init__(self, program: torch.export.ExportedProgram, names: list[str]) -> None:
        super().__init__()
        self.program = program.module(check_guards=False)
        self._positional = len(program.call_spec.in_spec.children()[0].children())
        self._names = names
        self._batches = _batches(program, names)
        self._axes = _axes(program, names)

    def train(self, mode: bool = True) -> LoadedProgram:  # noqa: ARG002
        """Return self: an exported program has no other mode."""
        return self

    def forward(self, **inputs: torch.Tensor) -> Any:
        """Return what the program returns."""
        given = [inputs[name] for name in self._names]
        named = dict(zip(self._names[self._positional :], given[self._positional :], strict=True))
        return self.program(*given[: self._positional], **named)

    def dynamic_axes(self) -> Axes:
        """Return the names of the axes the program has symbolic, by input and axis."""
        return self._axes

    def example_inputs(self) -> list[Batch]:
        """Return the inputs the program was exported with, also stretched and cut along its dynamic axes."""
        return self._batches


def load_program(path: Path) -> LoadedProgram:
    """Return the program in the ``.pt2`` archive at `path`.

    Raises:
        ModelError: it is no such archive, it holds what could run code, or an input is not a tensor.
    """
    check_archive(path)
    try:
        with no_pickles():
            program = torch.export.load(path)
    except Exception as error:  # torch's loader raises whatever its parts do
        raise ModelError(f"{path}: torch cannot load it: {_first_line(error)}; export it again with this torch") from error
    tree = program.call_spec.in_spec
    flat = tree is not None and all(child.is_leaf() for group in tree.children() for child in group.children())
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    names = [str(name) for name in program.graph_signature.user_inputs]
    if not flat or not all(isinstance(values.get(name), torch.Tensor) for name in names):
        raise ModelError(f"{path}: its inputs are not plain tensors; export the program with one tensor an argument")
    return LoadedProgram(program, names)


def check_archive(path: Path) -> None:
    """Refuse a ``.pt2`` archive that could run code when torch loads it.

    Raises:
        ModelError: names what is not allowed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            listed = [entry for entry in archive.infolist() if not entry.is_dir()]
            entries = {entry.filename.partition("/")[2]: entry for entry in listed}
            if len(entries) != len(listed):
                raise ModelError(f"{path}: holds two entries of one name, so that two readers may see two models; refused")
            for name in entries:
                if not _ENTRY.fullmatch(name):
                    raise ModelError(f"{path}: holds '{name}', which may run code; only tensors and one graph are read")
            graph = _json(archive, entries, "models/model.json", path)
            for kind in ("weights", "constants"):
                _check_payload(_json(archive, entries, f"data/{kind}/model_{kind}_config.json", path), path)
            samples = archive.read(entries["data/sample_inputs/model.pt"]) if "data/sample_inputs/model.pt" in entries else b""
        for value in _walk(graph):
            _check_graph(value, path)
    except _UNREADABLE as error:
        raise ModelError(f"{path}: not a whole torch.export archive (.pt2): {_first_line(error)}") from error
    if samples:
        try:
            torch.load(io.BytesIO(samples), weights_only=True)  # torch itself would unpickle what this refuses
        except Exception as error:  # whatever the unpickler says no with
            raise ModelError(f"{path}: its sample inputs are more than tensors, which may run code; refused") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _json(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str, path: Path) -> Any:
    if name not in entries:
        raise ModelError(f"{path}: not a torch.export archive (.pt2): it has no '{name}'")
    if entries[name].file_size > _MOST_JSON_BYTES:
        raise ModelError(f"{path}: '{name}' would be {entries[name].file_size} bytes; more than {_MOST_JSON_BYTES} is not read")
    return json.loads(archive.read(entries[name]))


def _check_payload(config: Any, path: Path) -> None:
    for name, entry in (config.get("config") or {}).items():
        if entry.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
            raise ModelError(f"{path}: '{name}' is stored as a pickle, which may run code; refused: save plain dense tensors")


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object inside `value`, without recursion: a stranger chose the depth."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _check_graph(entry: dict[str, Any], path: Path) -> None:
    called = [entry["target"]] if "metadata" in entry and "target" in entry else []  # a node; other targets name weights
    for name in (*called, *([entry["as_operator"]] if "as_operator" in entry else [])):
        if name is not None and not _OPERATOR.fullmatch(str(name)):
            raise ModelError(f"{path}: calls '{name}', which is none of torch's own tensor operators; refused")
    size = entry.get("expr_str")
    if isinstance(size, str) and not _harmless(size):
        raise ModelError(f"{path}: a size is '{size[:60]}', which is no arithmetic of symbols; refused")
    for key in ("in_spec", "out_spec"):
        if isinstance(entry.get(key), str):
            _check_tree(entry[key], path)


def _harmless(text: str) -> bool:
    """Tell whether `text` is nothing but arithmetic: sympy evaluates it as Python."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_harmless_node(node) for node in ast.walk(tree))


def _harmless_node(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int) or (isinstance(value, str) and _SYMBOL.fullmatch(value) is not None)
        case ast.Name(id=name):
            return name in _SIZE_CALLS or _SYMBOL.fullmatch(name) is not None
        case ast.keyword(arg=name):
            return name in {"positive", "integer", "nonnegative", "negative", "real", "evaluate"}
        case ast.Call(func=function):
            return isinstance(function, ast.Name) and function.id in _SIZE_CALLS
        case _:
            return isinstance(node, _SIZE_NODES)


def _check_tree(text: str, path: Path) -> None:
    for entry in _walk(json.loads(text)):
        kind = entry.get("type")
        if kind is not None and kind not in _TREES:
            raise ModelError(f"{path}: its inputs or outputs are a '{kind}'; only tuples, lists and dicts are read")


def _axes(program: torch.export.ExportedProgram, names: list[str]) -> Axes:
    """Name the symbolic axes: ``batch`` for the symbol of a first axis, others after the first input that has them."""
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    called: dict[str, str] = {}
    axes: Axes = {name: {} for name in names}
    for name in names:
        for axis, size in enumerate(values[name].shape):
            if isinstance(size, torch.SymInt):
                symbol = str(size.node.expr)
                free = axis == 0 and "batch" not in called.values()
                axes[name][axis] = called.setdefault(symbol, "batch" if free else f"{name}_axis{axis}")
    return axes


def _batches(program: torch.export.ExportedProgram, names: list[str]) -> list[Batch]:
    """Return the program's example inputs and three variants with other sizes of its symbols; [] if it keeps no examples."""
    if not program.example_inputs:
        return []
    positional, keyword = program.example_inputs
    arrays = [value.detach().numpy() for value in (*positional, *keyword.values())]
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    symbols: dict[Any, int] = {}
    for name, array in zip(names, arrays, strict=True):
        for size, found in zip(values[name].shape, array.shape, strict=True):
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                symbols[size.node.expr] = int(found)
    batches: list[Batch] = []
    for step in (0, 1, -1, 3):
        sizes = {
            symbol: _inside(program, symbol, size + step * (1 + index)) for index, (symbol, size) in enumerate(symbols.items())
        }
        shapes = [[_size(size, sizes) for size in values[name].shape] for name in names]
        batch: Batch = {name: _stretched(array, shape) for name, array, shape in zip(names, arrays, shapes, strict=True)}
        batches.append(batch)
    return batches if symbols else batches[:1]


def _inside(program: torch.export.ExportedProgram, symbol: Any, size: int) -> int:
    allowed = program.range_constraints.get(symbol)
    low = max(1, int(allowed.lower)) if allowed is not None and allowed.lower.is_Integer else 1
    high = int(allowed.upper) if allowed is not None and allowed.upper.is_Integer else size
    return max(low, min(size, high))


def _size(size: Any, sizes: Mapping[Any, int]) -> int:
    return int(size.node.expr.subs(sizes)) if isinstance(size, torch.SymInt) else int(size)


def _stretched(array: Array, shape: list[int]) -> Array:
    """Return `array` with `shape`: its values again from the start where an axis is longer, so that token ids stay valid."""
    for axis, size in enumerate(shape):
        array = np.take(array, np.arange(size), axis=axis, mode="wrap")
    return array
