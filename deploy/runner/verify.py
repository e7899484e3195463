#!/usr/bin/env python3
"""Check an edgeopt bundle where it is going to run. Needs Python 3.9 or later, numpy and onnxruntime; nothing else.

    python verify.py [BUNDLE] [--json] [--provider NAME] [--trusted KEY] [--budget MS|recorded] [--time-limit SECONDS]

BUNDLE is the folder of this file unless another is named; KEY a public key, whose signature is then demanded (with the package
cryptography). Questions, in this order, since a later one means nothing when an earlier one is answered with no:
  1. Are the files the recorded ones?            size and SHA-256 of each; none missing, none extra, no links
  2. Are its inputs and outputs those of bundle.json?  names, dtypes and axes of inputs and outputs
  3. Does it compute what it computed?           golden inputs are run, outputs compared within the recorded tolerances
  4. Does it answer what it answered?            golden raw inputs, by the folder `inference` beside this file
  5. Does it run where it ran, and in time?      placement and integer kernels as recorded; latency, where a budget is named

Exit status: 0 everything checked and right; 1 something is wrong; 2 not a bundle, or something could not be checked; of what is
wrong, 4: a file is truncated, 5: the bundle is of a later version than this program, 6: made for another processor, 7: the
signature is not of these files, 8: another key signed it, 9: a key is trusted and the bundle is unsigned, 10: operators fell
back to another provider, 11: integer kernels fell back to floating point, 12: over the budget, 13: over the time limit, 14: the
chain of its origins is broken.

Nothing from the bundle but its ONNX model is ever executed, and no pickle is read. The checks run in a process of their own: a
crafted model can hang or crash onnxruntime, and that is an answer, too (status 1).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Optional

SCHEMA_VERSIONS = (1, 2)
MANIFEST = "bundle.json"
SUMS = "SHA256SUMS"
SIGNATURE = "model.sig"
TRUNCATED, FUTURE, FOREIGN, TAMPERED, WRONG_KEY, UNSIGNED, TOO_LONG, BROKEN_CHAIN = 4, 5, 6, 7, 8, 9, 13, 14
PROVIDER = "CPUExecutionProvider"
NOT_COVERED = (
    "accuracy: the golden samples show that the model computes what it computed, not that it is right",
    "latency, without --budget, and memory",
)
_TIME_LIMIT_S = 600.0
_LONGEST_S = 2e6  # systems wait for 2^31 ms at most
_MANIFEST_LIMIT_BYTES = 16 << 20
_GOLDEN_LIMIT_BYTES = 1 << 30
_DTYPES = {"float": "float32", "double": "float64", "string": "object"}


class NotABundleError(Exception):
    """The folder is no bundle this program can read."""


class FutureVersionError(NotABundleError):
    """The bundle is of a later version than this program."""


class DamagedError(Exception):
    """A file of the bundle does not say what a bundle's file must say."""


@dataclass(frozen=True)
class Check:
    """One answered question; `status` is "passed", "failed" or "unchecked"."""

    name: str
    status: str
    detail: str
    exit_status: int = 1
    """Of this program, where this check failed."""


def read_manifest(folder: str) -> dict[str, Any]:
    """Return the contents of bundle.json, with everything that is used here checked for its type and range."""
    path = os.path.join(folder, MANIFEST)
    if not os.path.isfile(path) or os.path.islink(path):
        raise NotABundleError(f"no {MANIFEST} in {folder}; give the folder of a bundle")
    if os.path.getsize(path) > _MANIFEST_LIMIT_BYTES:
        raise DamagedError(f"{MANIFEST}: larger than {_MANIFEST_LIMIT_BYTES} bytes")
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{MANIFEST}: not valid JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise DamagedError(f"{MANIFEST}: not a JSON object")
    version = _get(manifest, "schema_version", int, MANIFEST)
    if version not in SCHEMA_VERSIONS:
        found = f"{MANIFEST}: schema version {version}, this program reads {', '.join(map(str, SCHEMA_VERSIONS))}"
        kind = FutureVersionError if version > max(SCHEMA_VERSIONS) else NotABundleError
        raise kind(f"{found}; run the verify.py that came with the bundle")
    _check_manifest(manifest)
    return manifest


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _check_manifest(manifest: dict[str, Any]) -> None:
    files = _get(manifest, "files", list, MANIFEST)
    paths = [_check_file_entry(entry, index) for index, entry in enumerate(files)]
    if len(set(paths)) != len(paths):
        raise DamagedError(f"{MANIFEST}: files lists '{Counter(paths).most_common(1)[0][0]}' twice")
    model = _get(manifest, "model", dict, MANIFEST)
    golden = _get(manifest, "golden", dict, MANIFEST)
    for owner, values in (("model", model), ("golden", golden)):
        name = _get(values, "file", str, owner)
        if name not in paths:
            raise DamagedError(f"{MANIFEST}: {owner}.file '{_short(name)}' is not among its files")
    for side in ("inputs", "outputs"):
        for index, tensor in enumerate(_get(manifest, side, list, MANIFEST)):
            _check_tensor(tensor, f"{side}[{index}]")
    outputs = {tensor["name"] for tensor in manifest["outputs"]}
    if _get(golden, "samples", int, "golden") < 1:
        raise DamagedError(f"{MANIFEST}: golden.samples must be at least 1")
    tolerances = _get(golden, "tolerances", list, "golden")
    named = {_check_tolerance(entry, f"golden.tolerances[{index}]") for index, entry in enumerate(tolerances)}
    if named != outputs or len(tolerances) != len(outputs):
        raise DamagedError(f"{MANIFEST}: golden.tolerances must name every output once")


def _check_file_entry(entry: Any, index: int) -> str:
    where = f"files[{index}]"
    path: str = _get(entry, "path", str, where)
    if unsafe(path):
        raise DamagedError(f"{MANIFEST}: {where}.path '{_short(path)}' {unsafe(path)}; refused")
    if not re.fullmatch("[0-9a-f]{64}", _get(entry, "sha256", str, where)):
        raise DamagedError(f"{MANIFEST}: {where}.sha256 is not 64 hexadecimal digits")
    if _get(entry, "size_bytes", int, where) < 0:
        raise DamagedError(f"{MANIFEST}: {where}.size_bytes is negative")
    return path


def _check_tensor(tensor: Any, where: str) -> None:
    _get(tensor, "name", str, where)
    _get(tensor, "dtype", str, where)
    for axis in _get(tensor, "shape", list, where):
        if isinstance(axis, bool) or not isinstance(axis, (int, str)):
            raise DamagedError(f"{MANIFEST}: {where}.shape holds {_short(repr(axis))}; a size or a name is allowed")


def _check_tolerance(entry: Any, where: str) -> str:
    for key in ("absolute", "relative"):
        value = _get(entry, key, (int, float), where)
        if not 0 <= value <= sys.float_info.max:
            raise DamagedError(f"{MANIFEST}: {where}.{key} is {_short(repr(value))}; a finite number of at least 0 is allowed")
    _get(entry, "top1", bool, where)
    output: str = _get(entry, "output", str, where)
    return output


def _get(values: Any, key: str, kind: Any, where: str) -> Any:
    """Return `values[key]` if `values` is an object and the value is of `kind` (a bool is never a number)."""
    if not isinstance(values, dict):
        raise DamagedError(f"{MANIFEST}: {where} is not an object")
    value = values.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        got = "missing" if key not in values else _short(repr(value))
        raise DamagedError(f"{MANIFEST}: '{key}' in {where} is {got}")
    return value


def unsafe(path: str) -> Optional[str]:
    """Return why `path`, as written in bundle.json, may not be opened; None if it may."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts):
        return "is absolute, empty or leaves the bundle"
    if re.search(r'[\\:"*<>|?]', path) or not path.isprintable() or any(part.endswith((".", " ")) for part in parts):
        return "has characters or endings that are not portable"
    if path in (MANIFEST, SUMS, SIGNATURE):
        return "is the list itself"
    return None


def _short(text: str, limit: int = 80) -> str:
    """Return `text` on one line of printable characters, cut at `limit`."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


def check_files(folder: str, manifest: dict[str, Any]) -> list[Check]:
    """Compare what lies in `folder` with what bundle.json and SHA256SUMS record, naming each file that differs."""
    recorded = {entry["path"]: entry for entry in manifest["files"]}
    present, links = _walk(folder)
    problems = [(f"{_short(path)}: is a link; a bundle holds plain files", 1) for path in links]
    extra = present - set(recorded) - {MANIFEST, SUMS, SIGNATURE}
    problems += [(f"{_short(path)}: extra, not recorded in {MANIFEST}", 1) for path in extra]
    for path, entry in recorded.items():
        if path in present:
            problems += _differences(os.path.join(folder, *path.split("/")), path, entry)
        elif path not in links:
            problems.append((f"{path}: missing", 1))
    if problems := problems + [(line, 1) for line in _check_sums(folder, recorded)]:
        return [Check("files", "failed", line, status) for line, status in sorted(problems)]
    size = sum(entry["size_bytes"] for entry in recorded.values())
    return [Check("files", "passed", f"{len(recorded)} files, {size:,} bytes: size and SHA-256 as recorded")]


def _walk(folder: str) -> tuple[set[str], set[str]]:
    """Return the files below `folder` as relative paths with slashes, and the links (which are not followed)."""
    present: set[str] = set()
    links: set[str] = set()
    for base, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(base, name)
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            if os.path.islink(path) or not (os.path.isfile(path) or os.path.isdir(path)):
                links.add(relative)
            elif name in files:
                present.add(relative)
    return present, links


def _differences(path: str, name: str, entry: dict[str, Any]) -> list[tuple[str, int]]:
    """Return how a file differs from its entry, with the exit status of that."""
    size = os.path.getsize(path)
    if size < entry["size_bytes"]:
        return [(f"{name}: {size} bytes, recorded are {entry['size_bytes']}: truncated", TRUNCATED)]
    if size > entry["size_bytes"]:
        return [(f"{name}: {size} bytes, recorded are {entry['size_bytes']}", 1)]
    if sha256(path) != entry["sha256"]:
        return [(f"{name}: its SHA-256 is not the recorded one; the contents changed", 1)]
    return []


def sums_text(manifest_sha256: str, files: list[dict[str, Any]]) -> str:
    """Return the contents of SHA256SUMS (`sha256sum -c` reads it): every file of the bundle, bundle.json too."""
    lines = {MANIFEST: manifest_sha256}
    lines.update((entry["path"], entry["sha256"]) for entry in files)
    return "".join(f"{lines[path]}  {path}\n" for path in sorted(lines))


def _check_sums(folder: str, recorded: dict[str, dict[str, Any]]) -> list[str]:
    """SHA256SUMS vouches for bundle.json, which vouches for the rest."""
    path = os.path.join(folder, SUMS)
    if not os.path.isfile(path) or os.path.islink(path):
        return [f"{SUMS}: missing"]
    wanted = sums_text(sha256(os.path.join(folder, MANIFEST)), list(recorded.values())).encode("utf-8")
    with open(path, "rb") as file:
        found = file.read(len(wanted) + 1)
    if found == wanted:
        return []
    seal = re.compile(b"[^\\n]{64}(  %s\n)" % re.escape(MANIFEST.encode()))
    if seal.sub(b"\\1", found) == seal.sub(b"\\1", wanted):
        return [f"{MANIFEST}: its SHA-256 is not the one in {SUMS}; one of the two changed"]
    return [f"{SUMS}: does not list what {MANIFEST} lists; it changed"]


def sha256(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def open_model(path: str, provider: str = PROVIDER, optimize: bool = True, profile: Optional[str] = None) -> Any:
    """Return an onnxruntime session with one thread, so that sums are made in one order; `profile`: where a profile begins."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised and said once
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=[provider])


def check_model(folder: str, manifest: dict[str, Any], provider: str = PROVIDER, budget: Optional[str] = None) -> list[Check]:
    """Load the model, compare its inputs and outputs with the recorded ones and run the golden samples."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        return _nothing_run(f"{error}; install numpy and onnxruntime to have the model run")
    if provider not in ort.get_available_providers():
        there = ", ".join(ort.get_available_providers())
        return _nothing_run(f"provider {provider} is not in this onnxruntime; it has {there}")
    try:
        session = open_model(os.path.join(folder, *manifest["model"]["file"].split("/")), provider)
    except Exception as error:  # noqa: BLE001  (onnxruntime's error classes have no public common base)
        least = manifest["model"].get("minimum_onnxruntime")
        wanted = f"; the model asks for onnxruntime {_short(str(least))} or later" if least else ""
        message = f"onnxruntime {ort.__version__} does not load the model{wanted}: {_short(str(error), 300)}"
        return [Check("schema", "failed", message), Check("golden", "unchecked", "the model was not loaded")]
    try:
        schema = check_schema(manifest, session)
    except UnicodeDecodeError as error:
        return [
            Check("schema", "failed", f"a name in the model is no text: {error}"),
            *_nothing_run("not the recorded model")[1:],
        ]
    if any(check.status == "failed" for check in schema):
        return [*schema, Check("golden", "unchecked", "the model's inputs and outputs are not the recorded ones")]
    if manifest.get("kind") == "llm":
        return [*schema, *(Check("golden", *found) for found in companion("golden_tokens").check(folder, manifest, session))]
    checks = schema + check_golden(folder, manifest, session) + check_raw(folder, manifest, session)
    return checks + ([] if exit_code(checks) else check_conditions(folder, manifest, provider, budget))


def check_schema(manifest: dict[str, Any], session: Any) -> list[Check]:
    """Compare the session's inputs and outputs with those in bundle.json: names in order, dtypes, axes."""
    problems: list[str] = []
    for side, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        recorded = manifest[side]
        names = [tensor.name for tensor in found]
        if names != [tensor["name"] for tensor in recorded]:
            problems.append(f"{side} of the model are {_short(', '.join(names), 200)}, not the recorded ones")
            continue
        for have, want in zip(found, recorded):
            have_shape = ["?" if axis in (None, "", -1) else axis for axis in have.shape]
            have_dtype = dtype_name(have.type)
            if have_dtype != want["dtype"] or not same_axes(have_shape, want["shape"], inferred=side == "outputs"):
                problems.append(f"'{have.name}' is {have_dtype}{have_shape}, recorded is {want['dtype']}{want['shape']}")
    if problems:
        return [Check("schema", "failed", _short(problem, 300)) for problem in problems]
    counts = f"{len(manifest['inputs'])} in, {len(manifest['outputs'])} out"
    return [Check("schema", "passed", f"{counts}: names, dtypes and axes as recorded")]


def same_axes(have: list[Any], want: list[Any], inferred: bool) -> bool:
    """Return whether a model's axes are the recorded ones; "?" is any axis.

    Of an output, onnxruntime infers more or less of what the file leaves open, by its version: an axis that one side has only a
    name for may be a size on the other, and where nothing is known the golden outputs tell.
    """
    if not have and (inferred or all(axis == "?" for axis in want)):  # (no axes also means that the file states no number)
        return True
    if len(have) != len(want):
        return False
    for found, recorded in zip(have, want):
        left_open = "?" in (found, recorded) or (inferred and isinstance(found, str) != isinstance(recorded, str))
        if found != recorded and not left_open:
            return False
    return True


def dtype_name(kind: str) -> str:
    """Return numpy's name of an onnxruntime type such as ``tensor(float)``."""
    return _DTYPES.get(kind[7:-1], kind[7:-1]) if kind.startswith("tensor(") else kind


def check_golden(folder: str, manifest: dict[str, Any], session: Any) -> list[Check]:
    """Run every golden sample and compare each output with the recorded one."""
    try:
        samples = read_golden(os.path.join(folder, *manifest["golden"]["file"].split("/")), manifest)
    except DamagedError as error:
        return [Check("golden", "failed", str(error))]
    tallies = [_Tally(entry) for entry in manifest["golden"]["tolerances"]]
    order = {tensor["name"]: index for index, tensor in enumerate(manifest["outputs"])}
    for index, (inputs, expected) in enumerate(samples):
        try:
            got = session.run(None, inputs)
        except Exception as error:  # noqa: BLE001  (as above)
            return [Check("golden", "failed", f"sample {index} does not run: {_short(str(error), 300)}")]
        for tally in tallies:
            position = order[tally.output]
            tally.add(index, got[position], expected[position])
    checks = [tally.check(len(samples)) for tally in tallies]
    written_on = manifest["golden"].get("machine")
    if isinstance(written_on, str) and written_on != platform.machine():
        where = f"written on {_short(written_on)}, run on {platform.machine()}"
        checks.append(
            Check("machine", "passed", f"{where}: integer kernels may round differently, equal bits are not expected")
        )
    return checks


def read_golden(path: str, manifest: dict[str, Any]) -> list[tuple[dict[str, Any], list[Any]]]:
    """Return (inputs by name, outputs in order) of each golden sample; pickles and oversized archives are refused."""
    import numpy as np

    inputs, outputs, name = manifest["inputs"], manifest["outputs"], manifest["golden"]["file"]
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > _GOLDEN_LIMIT_BYTES:
            raise DamagedError(f"{name}: unpacks to {size} bytes, more than {_GOLDEN_LIMIT_BYTES} are refused")
        with np.load(path, allow_pickle=False) as arrays:
            samples = []
            for index in range(manifest["golden"]["samples"]):
                feeds = {tensor["name"]: arrays[entry_name(index, "input", k)] for k, tensor in enumerate(inputs)}
                for tensor in inputs:
                    if tensor["dtype"] == "object":
                        feeds[tensor["name"]] = feeds[tensor["name"]].astype(object)
                samples.append((feeds, [arrays[entry_name(index, "output", k)] for k in range(len(outputs))]))
            return samples
    except KeyError as error:
        raise DamagedError(f"{name}: has no entry {_short(str(error))}") from error
    except DamagedError:
        raise
    except Exception as error:  # (what numpy, zipfile, zlib and lzma raise has no common base)
        raise DamagedError(f"{name}: cannot be read: {_short(str(error), 200)}") from error


def entry_name(sample: int, side: str, position: int) -> str:
    """Return the name inside golden.npz of a sample's input or output at `position` (names of tensors may hold anything)."""
    return f"sample{sample:04d}.{side}{position}"


class _Tally:
    """The comparison of one output over all samples."""

    def __init__(self, tolerance: dict[str, Any]) -> None:
        self.output: str = tolerance["output"]
        self._tolerance = tolerance
        self._largest = 0.0
        self._problems: list[str] = []
        self._equal = self._rows = self._close_calls = 0

    def add(self, sample: int, got: Any, expected: Any) -> None:
        import numpy as np

        got, expected = np.asarray(got), np.asarray(expected)
        if got.shape != expected.shape:
            self._problems.append(f"sample {sample} has shape {got.shape}, recorded is {expected.shape}")
            return
        if expected.dtype.kind not in "fiub":
            if (got.astype(str) != expected.astype(str)).any():
                self._problems.append(f"sample {sample} is not equal")
            return
        if np.array_equal(got, expected, equal_nan=expected.dtype.kind == "f"):
            self._equal += 1
        error, worst = largest_error(got, expected, self._tolerance)
        self._largest = max(self._largest, error)
        if worst:
            self._problems.append(f"sample {sample} is off by {worst[0]:.3g}, allowed is {worst[1]:.3g}")
        if self._tolerance["top1"] and expected.ndim:
            self._add_top1(sample, got, expected)

    def _add_top1(self, sample: int, got: Any, expected: Any) -> None:
        """The winner must be the recorded one unless the recorded margin is within the tolerance (counted, not judged)."""
        import numpy as np

        for have, want in zip(got.reshape(-1, got.shape[-1]), expected.reshape(-1, got.shape[-1])):
            self._rows += 1
            if have.argmax() == want.argmax():
                continue
            pair = np.sort(want.astype(np.float64))[-2:]
            if len(pair) == 2 and pair[1] - pair[0] <= allowed_error(float(pair[1]), self._tolerance):
                self._close_calls += 1
                continue
            self._problems.append(f"sample {sample}: top-1 is {have.argmax()}, recorded is {want.argmax()}")

    def check(self, samples: int) -> Check:
        if self._problems:
            more = f" (and {len(self._problems) - 1} more)" if len(self._problems) > 1 else ""
            return Check("golden", "failed", _short(f"output '{self.output}': {self._problems[0]}{more}", 300))
        found = f"largest error {self._largest:.3g}, {self._equal} equal in every bit"
        detail = f"output '{self.output}': {samples} samples within tolerance, {found}"
        if self._tolerance["top1"]:
            detail += f", top-1 as recorded in {self._rows - self._close_calls} of {self._rows} rows"
        if self._close_calls:
            detail += f" ({self._close_calls} closer than the tolerance, not judged)"
        return Check("golden", "passed", _short(detail, 300))


def allowed_error(value: float, tolerance: dict[str, Any]) -> float:
    """Return the largest difference allowed beside `value`: absolute + relative · |value|."""
    return float(tolerance["absolute"] + tolerance["relative"] * abs(value))


def largest_error(got: Any, expected: Any, tolerance: dict[str, Any]) -> tuple[float, Optional[tuple[float, float]]]:
    """Return the largest error, and (error, allowed) where it exceeds what is allowed most; non-finite values must be equal."""
    import numpy as np

    have, want = got.astype(np.float64), expected.astype(np.float64)
    same = (have == want) | (np.isnan(have) & np.isnan(want))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(have - want))
    error = np.where(np.isfinite(error), error, math.inf)
    allowed = tolerance["absolute"] + tolerance["relative"] * np.where(np.isfinite(want), np.abs(want), 0.0)
    if error.size == 0:
        return 0.0, None
    excess = error - allowed
    at = int(excess.argmax())
    worst = (float(error.flat[at]), float(allowed.flat[at])) if excess.flat[at] > 0 else None
    return float(error.max()), worst


def check_signature(folder: str, trusted: Optional[str]) -> list[Check]:
    """Say whether the bundle is signed and, if a public key file is trusted, whether that key vouches for every file."""
    path = os.path.join(folder, SIGNATURE)
    if not os.path.isfile(path) or os.path.islink(path):
        if trusted is None:
            return [Check("signature", "passed", "unsigned: the hashes tell damage, but not who made the bundle")]
        return [Check("signature", "failed", "the bundle is unsigned, and a key is trusted", UNSIGNED)]
    if trusted is None:
        return [Check("signature", "passed", "signed, not checked: name the key to trust with --trusted")]
    try:
        code = companion("signature")
        with open(path, "rb") as signature, open(trusted, "rb") as key:
            content, pem = signature.read(), key.read()
        paths = _walk(folder)[0] - {SIGNATURE}
        digests = {name: sha256(os.path.join(folder, *name.split("/"))) for name in paths}
    except OSError as error:
        return [Check("signature", "unchecked", _short(f"{error.filename}: {error.strerror}; name the file of a key", 300))]
    except ImportError as error:
        return [Check("signature", "unchecked", _short(f"{error}", 300))]
    try:
        name = code.check(content, pem, digests)
    except ImportError as error:
        return [Check("signature", "unchecked", f"{error}; install cryptography to have the signature checked")]
    except code.NoKey as error:
        return [Check("signature", "unchecked", _short(f"{trusted}: {error}; name the file of an ECDSA public key", 300))]
    except code.WrongKey as error:
        return [Check("signature", "failed", _short(str(error), 300), WRONG_KEY)]
    except code.SignatureFault as error:
        return [Check("signature", "failed", _short(str(error), 300), TAMPERED)]
    return [Check("signature", "passed", f"signed as '{_short(name)}' by the trusted key: all {len(digests)} files")]


def companion(name: str) -> Any:
    """Return a module of the folder `inference` beside this program (not that of the bundle, which is untrusted)."""
    sys.dont_write_bytecode = True  # a bundle holds its recorded files and no others
    here = os.path.dirname(os.path.abspath(__file__))
    if here not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(f"inference.{name}")


def check_raw(folder: str, manifest: dict[str, Any], session: Any) -> list[Check]:
    """Run the golden raw inputs from raw data to the answer, by the code beside this program."""
    entries = manifest["golden"].get("raw")
    if not entries:
        return []
    try:
        code = companion("golden")
    except ImportError as error:
        return [Check("raw", "passed", _short(f"not asked: {error}", 300))]
    try:
        bundle = code.Bundle(folder, session=session, manifest=manifest)
        problems = code.check_raw(bundle, bundle.predict)
    except (ImportError, code.MissingPackageError) as error:
        return [Check("raw", "passed", _short(f"not asked: {error}", 300))]
    except Exception as error:  # noqa: BLE001  (of a crafted manifest anything may come)
        return [Check("raw", "failed", _short(f"a raw input gives no answer: {type(error).__name__}: {error}", 300))]
    if problems:
        return [Check("raw", "failed", _short(problem, 300)) for problem in problems]
    return [Check("raw", "passed", f"{len(entries)} raw inputs give the recorded answers")]


def check_conditions(folder: str, manifest: dict[str, Any], provider: str, budget: Optional[str]) -> list[Check]:
    """Compare placement, integer kernels and, with a budget, latency with what the bundle expects."""
    if "expected" not in manifest and budget is None:
        return []
    model = os.path.join(folder, *manifest["model"]["file"].split("/"))
    feeds = read_golden(os.path.join(folder, *manifest["golden"]["file"].split("/")), manifest)[0][0]
    try:
        found = companion("conditions").check(
            manifest.get("expected"), model, feeds, provider, open_model=open_model, budget=budget
        )
    except ImportError as error:
        return [Check("placement", "unchecked" if budget else "passed", _short(f"not asked: {error}", 300))]
    except Exception as error:  # noqa: BLE001  (of a crafted manifest anything may come)
        return [Check("placement", "failed", _short(f"what it expects cannot be read: {type(error).__name__}: {error}", 300))]
    return [Check(name, status, _short(detail, 300), code or 1) for name, status, detail, code in found]


def check_provenance(manifest: dict[str, Any]) -> list[Check]:
    """Check the chain of hashes from what the model was made from to its file."""
    origins = manifest.get("origins") or []
    try:
        code = companion("provenance")
    except ImportError:
        return []
    problem = code.problem(origins, {entry["path"]: entry["sha256"] for entry in manifest["files"]})
    if problem is not None:
        return [Check("provenance", "failed", _short(problem, 300), BROKEN_CHAIN)]
    named = " → ".join(f"{entry.get('role')} {str(entry.get('sha256'))[:8] or '(no hash)'}" for entry in origins)
    return [Check("provenance", "passed", _short(named, 300))] if origins else []


def check_machine(manifest: dict[str, Any]) -> list[Check]:
    """Say so if the model was compiled for other processors than this one."""
    wanted = manifest.get("architectures") or []
    if not isinstance(wanted, list) or not wanted or platform.machine() in wanted:
        return []
    made = _short(", ".join(map(str, wanted)))
    return [Check("machine", "failed", f"made for {made}, this machine is {platform.machine()}: give its own bundle", FOREIGN)]


def verify(folder: str, provider: str = PROVIDER, trusted: Optional[str] = None, budget: Optional[str] = None) -> list[Check]:
    """Answer the questions about the bundle in `folder`; `trusted` is the file of a public key that must have signed it.

    `budget` is the p95 in ms that a run may take, or "recorded".

    Raises:
        NotABundleError: there is no bundle.json, or one of another schema version.
    """
    try:
        manifest = read_manifest(folder)
    except DamagedError as error:
        return [Check("manifest", "failed", _short(str(error), 300)), *_nothing_run(f"{MANIFEST} cannot be trusted")]
    try:
        checks = [*check_files(folder, manifest), *check_signature(folder, trusted), *check_machine(manifest)]
        checks += check_provenance(manifest)
    except OSError as error:
        reason = _short(f"a file cannot be read: {error}", 300)
        return [Check("files", "unchecked", reason), *_nothing_run("not every file was checked, so nothing was run")]
    if any(check.status == "failed" for check in checks):
        failed = next(check.name for check in checks if check.status == "failed")
        what = "the files are not the recorded ones" if failed == "files" else f"the {failed} does not fit"
        return [*checks, *_nothing_run(f"{what}, so nothing was run")]
    return checks + check_model(folder, manifest, provider, budget)


def _nothing_run(reason: str) -> list[Check]:
    return [Check("schema", "unchecked", reason), Check("golden", "unchecked", reason)]


def exit_code(checks: list[Check]) -> int:
    """Return the status of the first check that failed, else 2 if one could not be made, else 0."""
    failed = next((check.exit_status for check in checks if check.status == "failed"), 0)
    return failed or (2 if any(check.status == "unchecked" for check in checks) else 0)


def as_json(checks: list[Check]) -> dict[str, Any]:
    """Return the checks and their verdict as JSON-able values."""
    verdict = {0: "passed", 2: "incomplete"}.get(exit_code(checks), "failed")
    values = {"verdict": verdict, "checks": [asdict(check) for check in checks]}
    return {"schema_version": 1, **values, "not_covered": list(NOT_COVERED)}


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the checks, print them and return the exit status."""
    parser = argparse.ArgumentParser(description="Check an edgeopt bundle: its files, its schema, its golden outputs.")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("bundle", nargs="?", default=here, help="the bundle's folder; default: the folder of this file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--provider", default=PROVIDER, help="execution provider to run the model with; default: %(default)s")
    parser.add_argument("--trusted", metavar="KEY", help="public key (PEM) that must have signed the bundle")
    asked = "p95 in ms that a run may take; 'recorded': 1.25 × the recorded one, on the same kind of device"
    parser.add_argument("--budget", type=read_budget, metavar="MS", help=asked)
    limit = "seconds until the check counts as failed, 0: none; default: %(default)g"
    parser.add_argument("--time-limit", type=read_limit, default=_TIME_LIMIT_S, metavar="SECONDS", help=limit)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process
    options = parser.parse_args(arguments)
    if not options.here:
        return _apart(options)
    try:
        return _show(verify(options.bundle, options.provider, options.trusted, options.budget), options.json)
    except (NotABundleError, OSError) as error:
        print(f"verify: {_short(str(error), 400)}", file=sys.stderr)
        return FUTURE if isinstance(error, FutureVersionError) else 2


def read_budget(text: str) -> str:
    """Return a budget that can be checked: a number of ms above 0, or "recorded".

    Raises:
        ValueError: it is neither.
    """
    if text != "recorded" and not 0 < float(text) < math.inf:
        raise ValueError(text)
    return text


def read_limit(text: str) -> float:
    """Return a number of seconds from 0 on; weeks stand for more.

    Raises:
        ValueError: it is none.
    """
    seconds = float(text)
    if not seconds >= 0:
        raise ValueError(text)
    return min(seconds, _LONGEST_S)


def _show(checks: list[Check], as_values: bool) -> int:
    """Print the checks and return the exit status."""
    if as_values:
        print(json.dumps(as_json(checks), indent=2))
        return exit_code(checks)
    for check in checks:
        print(f"{check.status:9}  {check.name:8}  {check.detail}")
    print("".join(f"not asked  {line}\n" for line in NOT_COVERED), end="")
    print({0: "passed", 2: "INCOMPLETE: something could not be checked"}.get(exit_code(checks), "FAILED"))
    return exit_code(checks)


def _apart(options: argparse.Namespace) -> int:
    """Run the checks in a process of their own, within the time limit, and return its exit status."""
    command = [sys.executable, os.path.abspath(__file__), "--here", "--provider", options.provider]
    command += [*(["--json"] if options.json else []), *(["--trusted", options.trusted] if options.trusted else [])]
    command += ["--budget", options.budget] if options.budget else []
    command += ["--", options.bundle]
    limit = options.time_limit if options.time_limit > 0 else None
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit, env=environment, check=False)
    except subprocess.TimeoutExpired:
        said = f"the check did not end within {limit:g} s; see --time-limit"
        return _show([Check("time", "failed", said, TOO_LONG)], options.json)
    except (OSError, ValueError):  # a device that starts no other process, a name that no file can have
        return main([*command[2:]])
    if done.returncode not in range(15) or b"Traceback" in done.stderr:
        said = _short(done.stderr.decode("utf-8", "replace").strip().split("\n")[-1], 200)
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        return _show([Check("golden", "failed", f"the check crashed ({how}): {said or 'it said nothing'}")], options.json)
    sys.stdout.write(done.stdout.decode("utf-8", "replace"))
    sys.stderr.write(done.stderr.decode("utf-8", "replace"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
