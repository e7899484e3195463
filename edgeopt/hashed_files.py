"""Files that carry their own hash, so that damage (a flipped bit, a truncated file) is reported instead of read.

A safetensors file keeps it in its metadata, as the entry ``sha256`` over all other entries and all tensors; a JSON object as
the key ``sha256`` over the canonical JSON of the others. A file written for people to edit (a plan, a recipe) has none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEAL = "sha256"


def tensors_hash(tensors: Iterable[tuple[str, str, NDArray[Any]]], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of a safetensors file's content, whatever the order in it.

    Args:
        tensors: name, element type and values of each (types that numpy lacks as bytes of another).
        metadata: its entries; the hash itself is left out.
    """
    digest = hashlib.sha256(json.dumps({key: metadata[key] for key in sorted(metadata) if key != SEAL}).encode())
    for name, dtype, values in sorted(tensors, key=lambda item: item[0]):
        digest.update(json.dumps([name, dtype, list(values.shape)]).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def check_seal(path: Path | str, recorded: object, found: str, *, advice: str) -> None:
    """Compare a file's recorded hash with the hash of its content.

    Raises:
        IntegrityError: they differ, or there is none; the message ends with `advice`.
    """
    if recorded is None:
        raise IntegrityError(f"{path}: its SHA-256 is missing (damaged, or written by an older edgeopt); {advice}")
    if recorded != found:
        raise IntegrityError(f"{path}: damaged (its SHA-256 is not the recorded one); {advice}")


def sealed_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with their hash added."""
    return {**values, SEAL: json_hash(values)}


def json_hash(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object without the hash in it."""
    content = {key: value for key, value in values.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
