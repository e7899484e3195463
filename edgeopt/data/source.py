"""Sources of samples: one text on the command line, in a recipe or in Python names where samples come from.

    digits                              a calibration set by name, or a folder with a manifest.toml
    samples.npz   arrays/               arrays by input name; a folder of .npy (one per input) or of .npz (samples)
    photos/?preprocessing=FILE          images; subfolders are classes
    photos.csv?image=file&label=class   images (or with audio= recordings) that a table names
    reviews.csv?text=review&label=stars texts (.csv, .tsv, .json, .jsonl, .txt) through a tokenizer
    test.conll                          tagged words, one per line (CoNLL)
    reviews.test                        lines such as "1 a good film"
    coco.json?images=folder  yolo/      boxes: COCO's annotations, or YOLO's folders images/ and labels/
    streets/                            folders images/ and masks/: a class for every pixel
    speech/?rate=16000                  .wav files; subfolders are classes
    hub:NAME?split=validation           a data set of the hub (package datasets), hub:FILE.parquet, or one of `save_to_disk`
    module:callable                     returns samples: mappings of arrays by input name, without a batch axis

Options follow "?", as in a URL: `SourceOptions` lists them.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

from edgeopt.batches import Array
from edgeopt.data.label_names import ordered_names
from edgeopt.data.manifest import InputManifest, Manifest, SplitManifest, load_manifest, manifest_path
from edgeopt.data.preprocessing import ArrayInput, AudioInput, Preprocessing, TokenizerInput
from edgeopt.data.samples import Samples
from edgeopt.data.source_kinds import kind_of
from edgeopt.data.source_options import Asked, Reader, SourceOptions
from edgeopt.errors import DataError, RecipeError


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
    kind = kind_of(place)
    if kind == "set":
        return _of_set(place, options.tokenizer or reader.tokenizer, reader, split)
    from edgeopt.data.readers import READERS

    return READERS[kind](Asked(source, place, options, reader))


def needs_steps(source: str) -> bool:
    """Return whether `source` holds images that become inputs by some preprocessing."""
    place, _, query = source.partition("?")
    return kind_of(place) in {"images", "boxes", "maps"} or bool(_options(query, source).image)


def is_set(source: str) -> bool:
    """Return whether `source` names a calibration set; an unknown source counts as one, so that the error lists sets."""
    try:
        return kind_of(source.partition("?")[0]) == "set"
    except DataError:
        return not Path(source.partition("?")[0]).exists()


def described(source: str, samples: Samples, reader: Reader = Reader()) -> Manifest:
    """Return what a manifest would say of samples that come from a source without one, for the model in `reader`."""
    place, _, query = source.partition("?")
    named = _options(query, source)
    is_text = kind_of(place) in {"table", "tokens", "sentences", "dataset"} and "input_ids" in samples[0]
    preprocessing: Preprocessing = preprocessing_of(source, reader) or ArrayInput()
    if isinstance(preprocessing, ArrayInput) and kind_of(place) == "recordings":
        preprocessing = _plain_recordings(Path(place), named)
    elif isinstance(preprocessing, ArrayInput) and named.audio and named.rate:
        preprocessing = AudioInput(rate=named.rate, length=named.length, normalise=named.normalise)
    if is_text:
        segments = "token_type_ids" if "token_type_ids" in samples[0] else None
        preprocessing = TokenizerInput(max_length=named.max_length, token_type_ids=segments)
    return Manifest(
        name=Path(place).stem or "samples",
        description=f"samples of {source}",
        origin="not stated",
        licence="not stated",
        reader="text" if is_text else "arrays",
        inputs=[_input(name, array) for name, array in samples[0].items()],
        splits={"calibration": SplitManifest(count=len(samples))},
        preprocessing=preprocessing,
        labels=list(samples.names) or class_names_of(source),
    )


def class_names_of(source: str) -> list[str]:
    """Return the folders that are the classes of the images or recordings that `source` names, by number; [] without any."""
    place = source.partition("?")[0]
    match kind_of(place):
        case "images":
            from edgeopt.data.images import class_folders

            return list(ordered_names([folder.name for folder in class_folders(Path(place))]))
        case "recordings":
            from edgeopt.data.audio import recording_files

            return list(ordered_names(recording_files(Path(place))[1]))
        case _:
            return []


def _plain_recordings(folder: Path, options: SourceOptions) -> AudioInput:
    """Return the preprocessing that stands for the simple options of recordings."""
    from edgeopt.data.audio import recording_files, recording_rate

    rate = options.rate or recording_rate(recording_files(folder)[0][0])
    return AudioInput(rate=rate, length=options.length, normalise=options.normalise)


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


def preprocessing_of(source: str, reader: Reader = Reader()) -> Preprocessing | None:
    """Return the preprocessing of images or recordings that `source`, the reader or the model's folder states; None: none."""
    from edgeopt.data.preprocessing import read_preprocessing_file
    from edgeopt.data.readers import preprocessing_file

    place, _, query = source.partition("?")
    options = _options(query, source)
    path, heard = options.preprocessing, kind_of(place) == "recordings" or bool(options.audio)
    prepares = kind_of(place) in {"images", "boxes", "maps", "recordings"} or bool(options.image or options.audio)
    if path is None and prepares and reader.preprocessing is not None:
        return reader.preprocessing
    if path is None and prepares:
        path = preprocessing_file(reader.folder)
        if heard and path is not None and path.suffix != ".toml":  # (transformers' file says how images become inputs)
            return None
    return None if path is None else read_preprocessing_file(path)


def _set_name(place: str) -> str:
    """Return the name of a shipped set as it is, and the path of a folder so that it is not taken for a name."""
    return place if "/" not in place and manifest_path(place).is_file() else f"{Path(place)}/"


def _options(query: str, source: str) -> SourceOptions:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise RecipeError(f"{source}: what follows '?' is not KEY=VALUE&KEY=VALUE") from error
    return SourceOptions.read(dict(pairs), where=source)


def _of_set(place: str, tokenizer: Path | None, reader: Reader, split: str) -> Samples:
    from edgeopt.data.sets import load_set

    splits = load_set(_set_name(place), tokenizer=tokenizer, inputs=reader.inputs)
    if split not in splits:
        raise DataError(f"{place}: the set has no {split} split; it has: {', '.join(splits)}")
    return splits[split]
