"""The difference between two bundles: what a device that has the old one needs to make the new one.

Idea. A model and its data files are cut at the borders of its tensors, and each part is known by its SHA-256. A part that the
old bundle has is named, not sent; another one is sent compressed (zstd), with the old tensor (or file) of the same name as a
dictionary where that is smaller. A requantized model shares little: its scales move, and so do most of its bytes; the result
says so in bytes.

A delta is a .zip (stored) of ``delta.json`` and the parts. Nothing is used before its hash was checked: the old parts, each new
part, each file, and at the end the hash of the new bundle.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt import files
from edgeopt.bundle.pack import DAMAGED_ZIP, is_of_disk, refuse_in_bundle, unsafe_name
from edgeopt.bundle.verify import BundleVersionError, device_verify
from edgeopt.errors import DataError, IntegrityError, ModelError, RecipeError
from edgeopt.extras import need

_LEAST_BYTES = 1024  # a smaller tensor is no part of its own
_MOST_OF_FILE_BYTES = 64 << 20  # of a file that its old version is a dictionary for
_MOST_BYTES = 8 << 30
_LEVEL = 12
_STAMP = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class DeltaResult:
    """Sizes of a delta."""

    delta_bytes: int
    new_bytes: int
    """All files of the new bundle."""
    compressed_bytes: int
    """The parts of the new bundle, each compressed by itself: what would be sent without the old one."""
    parts: int
    sent: int
    """Parts that the old bundle does not have."""


@dataclass(frozen=True)
class _Part:
    """A piece of a file; `tensor` is the name of what it holds: a tensor, or a file that is one part."""

    path: str
    start: int
    content: bytes
    tensor: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def write_delta(old: Path, new: Path, output: Path) -> DeltaResult:
    """Write what turns the bundle in the folder `old` into the one in `new` to the file `output`.

    Raises:
        ModelError: one of the two is no bundle.
        RecipeError: `output` lies in a bundle.
        MachineError: the package zstandard is not installed, or `output` cannot be written.
    """
    need("zstandard", purpose="writing a delta")
    import zstandard

    refuse_in_bundle(output)
    known: dict[str, _Part] = {}
    tensors: dict[str, _Part] = {}
    for part in _parts(old):
        known.setdefault(part.sha256, part)
        if part.tensor:
            tensors.setdefault(part.tensor, part)
    plain, quick = zstandard.ZstdCompressor(level=_LEVEL), zstandard.ZstdCompressor(level=1)
    listed: dict[str, list[dict[str, Any]]] = {}
    sent: dict[str, bytes] = {}
    sizes = {"compressed": 0, "parts": 0}
    for part in _parts(new):
        name = part.sha256
        entry: dict[str, Any] = {"sha256": name, "bytes": len(part.content)}
        sizes["compressed"] += len(quick.compress(part.content))
        sizes["parts"] += 1
        if name in known:
            entry.update(old=known[name].path, start=known[name].start)
        else:
            packed, base = _smaller(part, plain.compress(part.content), tensors.get(part.tensor))
            sent.setdefault(name, packed)
            if base is not None:
                entry["base"] = {"old": base.path, "start": base.start, "bytes": len(base.content), "sha256": base.sha256}
        listed.setdefault(part.path, []).append(entry)
    values = {"schema_version": 1, "old": _identity(old), "new": _identity(new), "files": listed}
    with files.write_aside(output) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, "delta.json", plain.compress(json.dumps(values, sort_keys=True).encode()))
        for name in sorted(sent):
            _store(archive, f"parts/{name}", sent[name])
    new_bytes = sum(path.stat().st_size for path in _bundle_files(new))
    return DeltaResult(output.stat().st_size, new_bytes, sizes["compressed"], sizes["parts"], len(sent))


def _smaller(part: _Part, alone: bytes, base: _Part | None) -> tuple[bytes, _Part | None]:
    """Return the smaller of a part compressed by itself and with the old tensor of its name as a dictionary."""
    import zstandard

    if base is None:
        return alone, None
    dictionary = zstandard.ZstdCompressionDict(base.content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    together = zstandard.ZstdCompressor(level=_LEVEL, dict_data=dictionary).compress(part.content)
    return (together, base) if len(together) < len(alone) else (alone, None)


def apply_delta(old: Path, delta: Path, output: Path) -> None:
    """Make the new bundle out of the old one in the folder `old` and the file `delta`, in the new folder `output`.

    Raises:
        DataError: the delta is damaged, or is one for another bundle.
        BundleVersionError: it is of a later version than this edgeopt.
        IntegrityError: a part, a file or the bundle does not have the hash that it must have.
        RecipeError: `output` exists already.
    """
    need("zstandard", purpose="reading a delta")
    if output.exists():
        raise RecipeError(f"{output}: exists already; give a new folder")
    if not delta.is_file():
        raise DataError(f"{delta}: no such file; give one that edgeopt delta wrote")
    with files.disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as parent:
            aside = Path(parent) / "bundle"
            aside.mkdir()
            try:
                with zipfile.ZipFile(delta) as archive:
                    _assemble(archive, old, aside)
            except (*DAMAGED_ZIP, TypeError, AttributeError, ArithmeticError, OSError) as error:
                if is_of_disk(error):
                    raise
                raise DataError(f"{delta}: not a delta that can be read: {' '.join(str(error).split())[:200]}") from error
            for path in [*aside.rglob("*"), aside]:
                files.flush(path)
            aside.replace(output)


def _assemble(archive: zipfile.ZipFile, old: Path, folder: Path) -> None:
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise DataError("a part is compressed twice; refused")
    values = json.loads(_unpacked(archive.read("delta.json"), 256 << 20, None))
    version = values["schema_version"]
    if version != 1:
        kind = BundleVersionError if isinstance(version, int) and version > 1 else DataError
        raise kind(f"delta.json: schema version {version}, this edgeopt reads 1")
    if values["old"] != _identity(old):
        raise DataError(f"{old}: not the bundle that this delta is for")
    if sum(_count(entry["bytes"]) for entries in values["files"].values() for entry in entries) > _MOST_BYTES:
        raise DataError(f"the new bundle would have more than {_MOST_BYTES} bytes; refused")
    for name, entries in values["files"].items():
        if reason := unsafe_name(name):
            raise DataError(f"delta.json: '{name[:80]}' {reason}; refused")
        place = folder.joinpath(*name.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as target:
            for entry in entries:
                target.write(_part(archive, old, entry))
    if _identity(folder) != values["new"]:
        raise IntegrityError("the bundle that the delta makes is not the recorded one")
    code = device_verify()
    try:
        report = code.check_files(str(folder), code.read_manifest(str(folder)))
    except (code.DamagedError, code.NotABundleError) as error:
        raise IntegrityError(f"the bundle that the delta makes does not verify: {error}") from error
    failed = next((check.detail for check in report if check.status == "failed"), None)
    if failed:
        raise IntegrityError(f"the bundle that the delta makes does not verify: {failed}")


def _part(archive: zipfile.ZipFile, old: Path, entry: dict[str, Any]) -> bytes:
    """Return a part, checked by its hash."""
    if "old" in entry:
        content = _of_old(old, entry)
    else:
        base = entry.get("base")
        dictionary = None if base is None else _checked(_of_old(old, base), base["sha256"])
        content = _unpacked(archive.read(f"parts/{entry['sha256']}"), _count(entry["bytes"]), dictionary)
    return _checked(content, entry["sha256"])


def _of_old(old: Path, entry: dict[str, Any]) -> bytes:
    name = str(entry["old"])
    if reason := unsafe_name(name):
        raise DataError(f"delta.json: '{name[:80]}' {reason}; refused")
    try:
        with old.joinpath(*name.split("/")).open("rb") as file:
            file.seek(_count(entry["start"]))
            return file.read(_count(entry["bytes"]))
    except OSError as error:
        raise DataError(f"{old}: {name} cannot be read: {error}") from error


def _count(value: Any) -> int:
    """Return a number of bytes out of a delta.json; one that no file has is refused."""
    count = int(value)
    if not 0 <= count <= _MOST_BYTES:
        raise DataError(f"delta.json: {count} bytes; refused")
    return count


def _unpacked(packed: bytes, size: int, dictionary: bytes | None) -> bytes:
    import zstandard

    data = None if dictionary is None else zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    reader = zstandard.ZstdDecompressor(dict_data=data) if data is not None else zstandard.ZstdDecompressor()
    try:
        stream = reader.stream_reader(packed)
        content = stream.read(size + 1)
    except zstandard.ZstdError as error:
        raise DataError(f"a part cannot be unpacked: {error}") from error
    return bytes(content)


def _checked(content: bytes, sha256: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(f"a part of the delta does not have its SHA-256 {str(sha256)[:16]}…")
    return content


def _identity(bundle: Path) -> str:
    """Return the hash of a bundle: of its SHA256SUMS."""
    sums = bundle / "SHA256SUMS"
    if not sums.is_file():
        raise ModelError(f"{bundle}: no SHA256SUMS in it; give the folder of a bundle")
    return files.sha256(sums)


def _bundle_files(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file())


def _parts(bundle: Path) -> Iterator[_Part]:
    """Yield the parts of all files, in order; models and their data files are cut at their tensors."""
    _identity(bundle)
    paths = _bundle_files(bundle)
    borders = _borders(paths)
    for path in paths:
        name, content = path.relative_to(bundle).as_posix(), path.read_bytes()
        at = 0
        for tensor, start, end in sorted(borders.get(path, []), key=lambda border: border[1]):
            if not at <= start < end <= len(content):  # (two names for one tensor, or a model that says nonsense)
                continue
            if start > at:
                yield _Part(name, at, content[at:start])
            yield _Part(name, start, content[start:end], tensor)
            at = end
        if at < len(content) or not content:
            whole = f"file {name}" if not at and len(content) <= _MOST_OF_FILE_BYTES else ""
            yield _Part(name, at, content[at:], whole)


def _borders(paths: Sequence[Path]) -> dict[Path, list[tuple[str, int, int]]]:
    """Return (name, start, end) of the large tensors in models and in their data files, by file."""
    found: dict[Path, list[tuple[str, int, int]]] = {}
    for path in paths:
        if path.suffix != ".onnx":
            continue
        content, at = path.read_bytes(), 0
        for tensor in _constants(path):
            place, raw = {entry.key: entry.value for entry in tensor.external_data}, tensor.raw_data
            if place:
                file = path.parent / place.get("location", "")
                start, size = _number(place.get("offset", "0")), _number(place.get("length", ""))
            else:
                file, start, size = path, content.find(raw, at), len(raw)
            if start < 0 or size < _LEAST_BYTES:
                continue
            found.setdefault(file, []).append((tensor.name, start, start + size))
            at = at if place else start + size
    return found


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _constants(path: Path) -> Sequence[Any]:
    """Return the constants of a model's graph; none where it cannot be read: such a file is one part."""
    import onnx

    try:
        return list(onnx.load_model(path, load_external_data=False).graph.initializer)
    except Exception:  # noqa: BLE001  (what protobuf raises has no common base)
        return []


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _STAMP), content)
