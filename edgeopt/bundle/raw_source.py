"""Raw inputs of a source of samples: the very images, recordings and sentences that its samples are made of."""

from __future__ import annotations

from pathlib import Path

from edgeopt.bundle.raw_golden import RawSample, raw_files
from edgeopt.data.manifest import load_manifest, manifest_path, root_folder
from edgeopt.data.source import options_of, set_of
from edgeopt.data.source_kinds import kind_of
from edgeopt.documents import read_text
from edgeopt.errors import DataError


def raw_of_source(source: str, count: int) -> tuple[RawSample, ...] | None:
    """Return the first `count` raw inputs of `source`, or None where it holds inputs that are prepared already."""
    place = Path(source.partition("?")[0])
    match kind_of(str(place)):
        case "images":
            return _images(place, count)
        case "recordings":
            from edgeopt.data.audio import recording_files

            return raw_files(recording_files(place)[0], count)
        case "boxes" | "maps":
            folder = place if place.is_dir() else place.parent
            named = options_of(source).images
            return _images(Path(named) if named else folder / "images" if (folder / "images").is_dir() else folder, count)
        case "tokens":
            from edgeopt.data.token_files import read_tagged

            return tuple(RawSample(text=" ".join(words)) for words in read_tagged(place).words[:count])
        case "sentences":
            return _sentences(place, count)
        case "table":
            return _texts(place, source, count)
        case "set":
            return _of_set(source, count)
        case _:
            return None


def _images(folder: Path, count: int) -> tuple[RawSample, ...]:
    from edgeopt.data.images import class_folders, image_files

    files = image_files(folder) or [file for inner in class_folders(folder) for file in image_files(inner)[:count]]
    return raw_files(files, count)


def _texts(table: Path, source: str, count: int) -> tuple[RawSample, ...] | None:
    from edgeopt.data.table_rows import RowOptions, texts_of_rows
    from edgeopt.data.table_texts import RowsOptions, read_rows

    options = options_of(source)
    if options.image or options.audio:
        return None
    columns = tuple(options.columns.split(",")) if options.columns else ()
    try:
        rows = read_rows(table, RowsOptions(columns, options.separator))
        asked = RowOptions(options.text, options.pair, options.label, target=options.target)
        texts = texts_of_rows(rows, asked, where=str(table))
    except DataError:  # a table that is read for its task alone
        return None
    return tuple(RawSample(text=text) for text in texts[:count])


def _of_set(source: str, count: int) -> tuple[RawSample, ...] | None:
    """Return the files or sentences of a calibration set's first split that is not for training."""
    manifest = set_of(source)
    if manifest is None or manifest.reader not in ("images", "text"):
        return None
    name = source.partition("?")[0]
    place = manifest_path(name if manifest_path(name).is_file() else f"{Path(name)}/")
    split = manifest.splits.get("calibration") or next(iter(manifest.splits.values()))
    path = root_folder(load_manifest(str(place.parent) + "/"), place) / split.path
    if manifest.reader == "images":
        return _images(path, count)
    return _sentences(path, count)


def _sentences(file: Path, count: int) -> tuple[RawSample, ...]:
    """Return the first sentences of a file of lines, each a label and a sentence."""
    lines = read_text(file, error=DataError, what="sentences").splitlines()[:count]
    return tuple(RawSample(text=line.replace("\t", " ", 1).partition(" ")[2]) for line in lines)
