"""What kind of source a place is: told from names and from what is there, without reading samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from edgeopt.data.manifest import manifest_path, set_names
from edgeopt.data.table_texts import SUFFIXES as TABLES
from edgeopt.data.token_files import SUFFIXES as TOKENS
from edgeopt.data.token_files import looks_tagged
from edgeopt.errors import DataError, nearest

Kind = Literal["set", "arrays", "images", "recordings", "table", "dataset", "callable", "tokens", "sentences", "boxes", "maps"]
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_LOOKED_AT = 50


def kind_of(place: str) -> Kind:
    """Return what kind of source `place` is.

    Raises:
        DataError: it is none of these, or could be several.
    """
    path = Path(place)
    if place.startswith("hub:"):
        return "dataset"
    if manifest_path(place).is_file() or (path / "manifest.toml").is_file():
        if manifest_path(place).is_file() and "/" not in place and path.exists():
            raise DataError(f"'{place}' is a calibration set and also a {_what(path)} here: write './{place}' for the latter")
        return "set"
    if path.is_dir():
        return _folder_kind(path)
    suffix = path.suffix.lower()
    if suffix in {".npz", ".npy"}:
        return "arrays"
    if suffix in {".parquet", ".arrow"} and path.is_file():
        return "dataset"
    if suffix in TOKENS or (path.is_file() and looks_tagged(path)):
        return "tokens"
    if suffix in TABLES:
        return "table"
    if suffix == ".json" and path.is_file():
        return "boxes" if _is_coco(path) else "table"
    if path.is_file() and _starts_with_labels(path):
        return "sentences"
    if ":" in place and "/" not in place and all(part.replace(".", "").isidentifier() for part in place.split(":", 1)):
        return "callable"
    if path.exists():
        raise DataError(f"{place}: files of the kind '{suffix or 'no suffix'}' cannot be read; {_ALLOWED}")
    names = set_names()
    missing = f"{place}: there is no such file, folder or calibration set{nearest(place, names)}"
    raise DataError(f"{missing}; {_ALLOWED}; sets known: {', '.join(names)}")


_ALLOWED = (
    f"give an .npz, a folder of .npy, .npz, images or .wav, a table ({', '.join(TABLES)}, .parquet), a CoNLL file, "
    "COCO or YOLO annotations, a set's name, hub:NAME or module:callable"
)


def _what(path: Path) -> str:
    return "folder" if path.is_dir() else "file"


def _folder_kind(path: Path) -> Kind:
    if (path / "images").is_dir():
        for name, kind in _BESIDE_IMAGES.items():
            if (path / name).is_dir():
                return kind
    suffixes = {file.suffix.lower() for file in path.iterdir() if file.is_file()}
    found: dict[Kind, bool] = {
        "arrays": bool(suffixes & {".npy", ".npz"}),
        "images": bool(suffixes & IMAGES),
        "recordings": ".wav" in suffixes,
        "dataset": is_saved_dataset(path),
    }
    kinds = [kind for kind, there in found.items() if there]
    if not kinds and any(inner.suffix.lower() in IMAGES for inner in path.glob("*/*")):
        return "images"
    if not kinds and any(inner.suffix.lower() == ".wav" for inner in path.glob("*/*")):
        return "recordings"
    if len(kinds) == 1:
        return kinds[0]
    if not kinds:
        inside = ", ".join(sorted(suffixes - {""})) or "nothing"
        raise DataError(f"{path}: no samples in this folder (it holds {inside}); {_ALLOWED}")
    raise DataError(f"{path}: the folder holds {' and '.join(kinds)}; put one kind into a folder of its own")


def is_saved_dataset(path: Path) -> bool:
    """Return whether `datasets` wrote the folder with `save_to_disk`: one data set, or its splits."""
    return (
        all((path / name).is_file() for name in ("state.json", "dataset_info.json")) or (path / "dataset_dict.json").is_file()
    )


_BESIDE_IMAGES: dict[str, Kind] = {"labels": "boxes", "masks": "maps", "annotations": "maps"}
"""What a folder beside one of images holds: YOLO's boxes, or maps of classes."""


def _is_coco(path: Path) -> bool:
    """Return whether a .json file is of COCO's annotations; the keys are looked for near its ends, since it may be large."""
    with path.open("rb") as file:
        start = file.read(4096)
        if start.lstrip()[:1] != b"{":
            return False
        if path.stat().st_size <= 64 * 1024 * 1024:
            try:
                values = json.loads(start + file.read())
            except (ValueError, RecursionError):
                return False
            return isinstance(values, dict) and {"images", "annotations"} <= set(values)
    return b'"images"' in start or b'"info"' in start or b'"annotations"' in start


def _starts_with_labels(path: Path) -> bool:
    """Return whether the lines of a text file start with a number and go on with a text, as in ``1 a good film``."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line for line, _ in zip(file, range(_LOOKED_AT), strict=False) if line.strip()]
    except (OSError, UnicodeDecodeError):
        return False
    parts = [line.replace("\t", " ", 1).partition(" ") for line in lines]
    return bool(parts) and all(first.isascii() and first.isdigit() and rest.strip() for first, _, rest in parts)
