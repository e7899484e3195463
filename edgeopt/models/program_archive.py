"""Check an untrusted ``.pt2`` archive and copy what was checked, and nothing else, into a fresh one.

torch's own loader is no barrier: it unpickles weights, constants and sample inputs that say so, evaluates symbolic sizes,
runs Python code that it generates from the names of inputs and weights, resolves an operator's name by walking attributes from
`torch`, and imports modules that a tree of inputs names. Nor do two readers always see the same files in one zip. So the
archive, a zip of JSON and raw bytes, is read here once, and only this is copied into the archive that torch reads:

    weights, constants     raw tensors, no pickles, no script or opaque objects
    sample inputs          what ``torch.load(weights_only=True)`` accepts
    operators              torch.ops.aten and torch.ops.prims, arithmetic of `operator`, `math` and `torch.sym_*`
    sizes                  arithmetic of symbols and bounded numbers (`size_expressions`)
    names                  identifiers; of weights also dots, dashes, colons, slashes and blanks
    trees                  tuples, lists, dicts with names as keys
    notes of nodes         the modules of their origin
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from edgeopt.errors import ModelError
from edgeopt.models.size_expressions import check_size

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!_?save|_?load|from_file|print|_print)\w+\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_(int|float|min|max|not|ite|sqrt|sum)|torch\._check"
)
_ENTRY = re.compile(
    r"(data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder|\.data/\w+|extra/.*)"
)
_GRAPH = "models/model.json"
_PAYLOADS = tuple((kind, f"data/{kind}/model_{kind}_config.json") for kind in ("weights", "constants"))
_SAMPLES = "data/sample_inputs/model.pt"
_WEIGHT_NAME = re.compile(r"[\w.:/ -]*")
_SYMBOL = re.compile(r"[a-z]{1,3}\d{1,6}")
_TREES = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
_MAPS = frozenset({"tensor_values", "sym_int_values", "sym_float_values", "sym_bool_values", "custom_obj_values", "config"})
_KEPT_NOTES = frozenset({"nn_module_stack"})
_MOST_JSON_BYTES = 2**28
_MOST_TIMES_LARGER = 16
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    AttributeError,
    TypeError,
    LookupError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def copy_checked(path: Path, to: Path) -> None:
    """Copy the archive at `path` to `to`, entry by entry, after checking everything in it.

    Raises:
        ModelError: `path` is not such an archive, or contains what could run code; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, path)
            checked = _checked(archive, entries, path)
            with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as fresh:
                for name, content in checked.items():
                    fresh.writestr(f"model/{name}", content)
                for name, entry in entries.items():
                    if name not in checked and not name.startswith("extra/"):
                        with archive.open(entry) as source, fresh.open(f"model/{name}", "w", force_zip64=True) as copy:
                            shutil.copyfileobj(source, copy)
    except _UNREADABLE as error:
        raise ModelError(f"{path}: not a torch.export archive (.pt2), or damaged: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of the message of `error`, or its class if there is no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files of the archive by name, without their common folder."""
    listed = [entry for entry in archive.infolist() if not entry.is_dir()]
    entries = {entry.filename.partition("/")[2]: entry for entry in listed}
    if len(entries) != len(listed):
        raise ModelError(f"{path}: holds two entries of one name, so that two readers may see two models; refused")
    if any(entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for entry in listed):
        raise ModelError(f"{path}: is compressed in a way that torch does not write; save it with torch.export.save")
    for name in entries:
        if not _ENTRY.fullmatch(name):
            raise ModelError(f"{path}: holds '{name}', which may run code; only tensors and one graph are read")
    size, here = sum(entry.file_size for entry in listed), path.stat().st_size
    if size > _MOST_TIMES_LARGER * here + _MOST_JSON_BYTES:
        raise ModelError(f"{path}: would be {size:,} bytes unpacked, from {here:,}; refused: save it with torch.export.save")
    return entries


def _checked(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], path: Path) -> dict[str, bytes]:
    """Return the checked entries that are not raw numbers."""
    graph = _json(archive, entries, _GRAPH, path)
    checked = {_GRAPH: graph}
    for kind, name in _PAYLOADS:
        checked[name] = _json(archive, entries, name, path)
        _check_payload(checked[name], kind, path)
    for value in checked.values():
        for entry in _walk(value):
            _check_entry(entry, path)
    for symbol, limits in (graph.get("range_constraints") or {}).items():
        known = all(limits.get(key) is None or type(limits[key]) is int for key in ("min_val", "max_val"))
        if not _SYMBOL.fullmatch(symbol) or not known:
            raise ModelError(f"{path}: '{symbol[:60]}' has a range and is not a symbol; refused")
    graph["guards_code"] = []  # Python code, which is not needed
    written = {name: json.dumps(value).encode() for name, value in checked.items()}
    if _SAMPLES in entries:
        written[_SAMPLES] = _samples(archive.read(entries[_SAMPLES]), path)
    return written


def _samples(content: bytes, path: Path) -> bytes:
    if not content:
        return content
    try:
        torch.load(io.BytesIO(content), weights_only=True)  # torch itself would unpickle what this refuses
    except Exception as error:  # any error of the unpickler
        raise ModelError(f"{path}: its sample inputs are more than tensors, which may run code; refused") from error
    return content


def _json(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str, path: Path) -> dict[str, Any]:
    if name not in entries:
        raise ModelError(f"{path}: not a torch.export archive (.pt2): it has no '{name}'")
    if entries[name].file_size > _MOST_JSON_BYTES:
        raise ModelError(f"{path}: '{name}' would be {entries[name].file_size} bytes; more than {_MOST_JSON_BYTES} is not read")
    found: dict[str, Any] = json.loads(archive.read(entries[name]))
    return found


def _check_payload(config: Mapping[str, Any], kind: str, path: Path) -> None:
    file = re.compile(r"weight_\d+" if kind == "weights" else r"tensor_\d+")
    for name, entry in (config.get("config") or {}).items():
        if entry.get("use_pickle") or not file.fullmatch(str(entry.get("path_name"))):
            raise ModelError(f"{path}: '{name}' is stored as a pickle, which may run code; refused: save plain dense tensors")
        if not _is_weight_name(name):
            raise ModelError(f"{path}: a weight is called '{name[:60]}', which is no valid name; refused")


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object inside `value`, without recursion, because the depth is untrusted."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            for key, inner in item.items():
                stack.extend(inner.values() if key in _MAPS and isinstance(inner, dict) else [inner])
        elif isinstance(item, list):
            stack.extend(item)


def _check_entry(entry: dict[str, Any], path: Path) -> None:
    """Check one JSON object of a graph or of a table of tensors, and drop a node's notes that are not kept."""
    called = [entry["target"]] if "metadata" in entry and "target" in entry else []  # a node; other targets name weights
    for name in (*called, *([entry["as_operator"]] if "as_operator" in entry else [])):
        if name is not None and not _OPERATOR.fullmatch(str(name)):
            raise ModelError(f"{path}: calls '{name}', which is not one of torch's own tensor operators; refused")
    if isinstance(entry.get("metadata"), dict):
        entry["metadata"] = {key: value for key, value in entry["metadata"].items() if key in _KEPT_NOTES}
    if "expr_str" in entry:
        try:
            check_size(str(entry["expr_str"]))
        except ValueError as error:
            shown = str(entry["expr_str"])[:60]
            raise ModelError(f"{path}: a size is '{shown}', which is not arithmetic of symbols; refused") from error
    for key, fits in _FIELDS.items():
        if key in entry and not fits(entry[key]):
            raise ModelError(f"{path}: '{key}' is {str(entry[key])[:60]!r}, which torch.export never writes; refused")
    for key in ("in_spec", "out_spec"):
        if isinstance(entry.get(key), str):
            _check_tree(entry[key], _is_name if key == "in_spec" else _is_weight_name, path)


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isidentifier()))


def _is_weight_name(value: Any) -> bool:
    return isinstance(value, str) and _WEIGHT_NAME.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} or value in ("Infinity", "-Infinity", "NaN")


def _listed(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(fits(item) for item in value)


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**64


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": _is_name,
    "as_name": _is_name,
    "forward_arg_names": lambda value: value is None or _listed(_is_name)(value),
    **dict.fromkeys(("parameter_name", "buffer_name", "tensor_constant_name", "user_input_name", "fqn"), _is_weight_name),
    "as_int": _is_integer,
    "as_ints": _listed(_is_integer),
    "as_float": _is_number,
    "as_floats": _listed(_is_number),
    "as_bool": lambda value: isinstance(value, bool),
    "as_bools": _listed(lambda value: isinstance(value, bool)),
    "as_custom_obj": lambda value: False,  # noqa: ARG005
    "as_graph": lambda value: False,  # noqa: ARG005
}
"""Required types of a graph's fields: torch generates Python code from names and trusts the others."""


def _check_tree(text: str, fits: Callable[[Any], bool], path: Path) -> None:
    for entry in _walk(json.loads(text)):
        kind, context = entry.get("type"), entry.get("context")
        if kind is not None and kind not in _TREES:
            raise ModelError(f"{path}: its inputs or outputs are a '{kind}'; only tuples, lists and dicts are read")
        keys = json.loads(context) if isinstance(context, str) else context
        for key in keys or []:
            if not _is_integer(key) and not fits(key):
                raise ModelError(f"{path}: its inputs or outputs are called '{str(key)[:60]}', which is no valid name; refused")
