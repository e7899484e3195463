"""Sources of samples: one text on the command line, in a recipe or in Python names where samples come from.

    digits                              a calibration set by name, or a folder with a manifest.toml
    samples.npz   arrays/               arrays by input name; a folder of .npy (one per input) or of .npz (samples)
    photos/?preprocessing=FILE          images; subfolders are classes
    reviews.csv?text=review&label=stars texts (.csv, .tsv, .jsonl, .txt) through a tokenizer
    speech/?rate=16000                  .wav files
    hub:NAME?split=validation           a data set of the hub (package datasets), or one that `save_to_disk` wrote
    module:callable                     returns samples: mappings of arrays by input name, without a batch axis

Options follow "?", as in a URL: `SourceOptions` lists them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

from edgeopt.batches import Array
from edgeopt.data.manifest import InputManifest, Manifest, SplitManifest, image_range, load_manifest, manifest_path, set_names
from edgeopt.data.preprocessing import ArrayInput, Preprocessing, TokenizerInput
from edgeopt.data.samples import Samples
from edgeopt.data.source_options import Reader, SourceOptions, need_tokenizer, text_options
from edgeopt.data.tables import SUFFIXES as TABLES
from edgeopt.errors import DataError, RecipeError, nearest
from edgeopt.extras import need

if TYPE_CHECKING:
    from edgeopt.data.preprocessing import ImageInput

Kind = Literal["set", "arrays", "images", "recordings", "table", "dataset", "callable"]
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def open_source(source: str, reader: Reader = Reader(), *, split: str = "calibration") -> Samples:
    """Return the samples that `source` names; see the docstring of this module.

    Args:
        source: where the samples are.
        reader: what is known about the model.
        split: split of a calibration set with a manifest.

    Raises:
        DataError: the source does not exist, is ambiguous, or cannot be read.
        RecipeError: an option is unknown, or a calibration set's manifest is wrong.
    """
    samples = _opened(source, reader, split)
    if reader.signature is None:
        return samples
    from edgeopt.data.fit import fit

    try:
        return fit(samples, reader.signature)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error


def _opened(source: str, reader: Reader, split: str) -> Samples:
    place, _, query = source.partition("?")
    options = _options(query, source)
    path, kind = Path(place), kind_of(place)
    tokenizer = options.tokenizer or reader.tokenizer
    match kind:
        case "set":
            return _of_set(place, tokenizer, reader, split)
        case "arrays":
            from edgeopt.data.arrays import read_arrays

            return read_arrays(path, reader.signature, inputs=reader.inputs)
        case "images":
            need("PIL", purpose="reading images")
            from edgeopt.data.images import read_images
            from edgeopt.data.preprocessing import read_image_input

            preprocessing = read_image_input(options.preprocessing, source)
            name = options.input or preprocessing.input or _first(reader, source)
            return replace(read_images(path, name, preprocessing), ranges=image_range(preprocessing, [name]))
        case "recordings":
            from edgeopt.data.audio import AudioOptions, read_recordings

            wanted = AudioOptions(options.rate, options.length, options.normalise)
            name = options.input or _first(reader, source)
            ranges = {} if options.normalise else {name: (-1.0, 1.0)}
            return replace(read_recordings(path, name, wanted), ranges=ranges)
        case "table":
            return _of_table(path, options, reader, tokenizer)
        case "dataset":
            from edgeopt.data.hub import read_dataset

            return read_dataset(place, options, reader, tokenizer)
        case "callable":
            from edgeopt.data.callables import call_source

            return call_source(place)


def is_set(source: str) -> bool:
    """Return whether `source` names a calibration set; an unknown source counts as one, so that the error lists sets."""
    try:
        return kind_of(source.partition("?")[0]) == "set"
    except DataError:
        return not Path(source.partition("?")[0]).exists()


def described(source: str, samples: Samples) -> Manifest:
    """Return what a manifest would say of samples that come from a source without one."""
    place, _, query = source.partition("?")
    is_text = kind_of(place) == "table"
    preprocessing: Preprocessing = preprocessing_of(source) or ArrayInput()
    if is_text:
        preprocessing = TokenizerInput(max_length=_options(query, source).max_length)
    return Manifest(
        name=Path(place).stem or "samples",
        description=f"samples of {source}",
        origin="not stated",
        licence="not stated",
        reader="text" if is_text else "arrays",
        inputs=[_input(name, array) for name, array in samples[0].items()],
        splits={"calibration": SplitManifest(count=len(samples))},
        preprocessing=preprocessing,
        labels=class_names_of(source),
    )


def class_names_of(source: str) -> list[str]:
    """Return the names of the folders that are the classes of the images that `source` names, by number; [] without classes."""
    place = source.partition("?")[0]
    if kind_of(place) != "images":
        return []
    from edgeopt.data.images import class_folders

    return [folder.name for folder in class_folders(Path(place))]


def options_of(source: str) -> SourceOptions:
    """Return the options behind the "?" of `source`."""
    return _options(source.partition("?")[2], source)


def tokenizer_of(source: str) -> Path | None:
    """Return the folder of the tokenizer that `source` names, or None if it names none."""
    return _options(source.partition("?")[2], source).tokenizer


def _input(name: str, array: Array) -> InputManifest:
    return InputManifest(name=name, dtype=array.dtype.name, shape=list(array.shape))


def set_of(source: str) -> Manifest | None:
    """Return the manifest of the calibration set that `source` names, or None if it names something else."""
    place = source.partition("?")[0]
    return load_manifest(_set_name(place)) if kind_of(place) == "set" else None


def preprocessing_of(source: str) -> ImageInput | None:
    """Return the preprocessing of images that `source` names, or None if it names none."""
    from edgeopt.data.preprocessing import read_image_input

    path = _options(source.partition("?")[2], source).preprocessing
    return None if path is None else read_image_input(path, source)


def _set_name(place: str) -> str:
    """Return the name of a shipped set as it is, and the path of a folder so that it is not taken for a name."""
    return place if "/" not in place and manifest_path(place).is_file() else f"{Path(place)}/"


def kind_of(place: str) -> Kind:
    """Return what kind of source `place` is: set, arrays, images, recordings, table, dataset or callable.

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
    if suffix == ".npz":
        return "arrays"
    if suffix in TABLES:
        return "table"
    if ":" in place and "/" not in place and all(part.replace(".", "").isidentifier() for part in place.split(":", 1)):
        return "callable"
    if path.exists():
        raise DataError(f"{place}: files of the kind '{suffix or 'no suffix'}' cannot be read; {_ALLOWED}")
    names = set_names()
    missing = f"{place}: there is no such file, folder or calibration set{nearest(place, names)}"
    raise DataError(f"{missing}; {_ALLOWED}; sets known: {', '.join(names)}")


_ALLOWED = (
    f"give an .npz, a folder of .npy, .npz, images or .wav, a table ({', '.join(TABLES)}), a set's name, hub:NAME or "
    "module:callable"
)


def _what(path: Path) -> str:
    return "folder" if path.is_dir() else "file"


def _folder_kind(path: Path) -> Kind:
    suffixes = {file.suffix.lower() for file in path.iterdir() if file.is_file()}
    found: dict[Kind, bool] = {
        "arrays": bool(suffixes & {".npy", ".npz"}),
        "images": bool(suffixes & _IMAGES),
        "recordings": ".wav" in suffixes,
        "dataset": (path / "state.json").is_file() and (path / "dataset_info.json").is_file(),
    }
    kinds = [kind for kind, there in found.items() if there]
    if not kinds and any(inner.suffix.lower() in _IMAGES for inner in path.glob("*/*")):
        return "images"
    if len(kinds) == 1:
        return kinds[0]
    if not kinds:
        inside = ", ".join(sorted(suffixes - {""})) or "nothing"
        raise DataError(f"{path}: no samples in this folder (it holds {inside}); {_ALLOWED}")
    raise DataError(f"{path}: the folder holds {' and '.join(kinds)}; put one kind into a folder of its own")


def _options(query: str, source: str) -> SourceOptions:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise RecipeError(f"{source}: what follows '?' is not KEY=VALUE&KEY=VALUE") from error
    return SourceOptions.read(dict(pairs), where=source)


def _first(reader: Reader, source: str) -> str:
    if len(reader.inputs) == 1:
        return reader.inputs[0]
    known = f"the model has {', '.join(reader.inputs)}" if reader.inputs else "the model is not known"
    raise DataError(f"{source}: which model input does it feed? {known}: write ?input=NAME")


def _of_set(place: str, tokenizer: Path | None, reader: Reader, split: str) -> Samples:
    from edgeopt.data.sets import load_set

    splits = load_set(_set_name(place), tokenizer=tokenizer, inputs=reader.inputs)
    if split not in splits:
        raise DataError(f"{place}: the set has no {split} split; it has: {', '.join(splits)}")
    return splits[split]


def _of_table(path: Path, options: SourceOptions, reader: Reader, tokenizer: Path | None) -> Samples:
    from edgeopt.data.tables import Columns, read_table
    from edgeopt.data.text import tokenized
    from edgeopt.files import sha256

    if not path.is_file():
        raise DataError(f"{path}: no such file")
    texts, labels = read_table(path, Columns(options.text, options.pair, options.label))
    columns = f"{options.text} {options.pair} {options.label}"
    folder = need_tokenizer(tokenizer, str(path))
    return tokenized(texts, labels, folder, text_options(options, reader), made_from=f"{sha256(path)} {columns}")
