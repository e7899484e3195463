"""One reader for each kind of source: from what was asked for to samples with their labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.data.label_names import has_names, numbered, ordered_names
from edgeopt.data.manifest import image_range
from edgeopt.data.samples import Samples
from edgeopt.data.source_options import Asked, text_options
from edgeopt.errors import DataError, nearest
from edgeopt.extras import need
from edgeopt.files import sha256

if TYPE_CHECKING:
    from edgeopt.data.hub import HubData
    from edgeopt.data.preprocessing import AudioInput, ImageInput
    from edgeopt.data.table_rows import RowOptions

_LABELS = ("label", "class")
"""Usual names of the column of labels beside images, recordings and arrays."""


def _arrays(asked: Asked) -> Samples:
    from edgeopt.data.arrays import read_arrays
    from edgeopt.data.packed_images import is_packed, read_packed

    reader = asked.reader
    if is_packed(asked.path):
        steps = _image_steps(asked)
        packed = read_packed(asked.path, asked.input_name(stated=steps.input), steps, asked.options.split)
        return _with_names(packed, asked)
    return read_arrays(asked.path, reader.signature, inputs=reader.inputs)


def _images(asked: Asked) -> Samples:
    need("PIL", purpose="reading images")
    from edgeopt.data.images import class_folders, image_files, read_image_files, read_images

    steps = _image_steps(asked)
    name = asked.input_name(stated=steps.input)
    ranges = image_range(steps, [name])
    if asked.options.label_pattern:
        files = image_files(asked.path)
        values = _labels_of_names(files, asked)
        return replace(_named_labels(read_image_files(files, name, steps), values, asked), ranges=ranges)
    samples = replace(read_images(asked.path, name, steps), ranges=ranges)
    folders = [folder.name for folder in class_folders(asked.path)]
    if samples.labels is None:
        return samples
    return _named_labels(samples, [folders[number] for number in samples.labels], asked, known=folders)


def _with_names(samples: Samples, asked: Asked) -> Samples:
    """Return samples whose classes are numbered as the model's are: by name, where both have names."""
    if samples.labels is None or not samples.names:
        return samples
    wrong = samples.labels[(samples.labels < 0) | (samples.labels >= len(samples.names))]
    if wrong.size:
        raise DataError(f"{asked.place}: has the label {wrong[0]} and names {len(samples.names)} classes, numbered from 0")
    if not asked.names:
        return samples
    return _named_labels(samples, [samples.names[number] for number in samples.labels], asked)


def _named_labels(samples: Samples, values: list[str], asked: Asked, known: Sequence[str] = ()) -> Samples:
    """Return samples with the numbers of the labels `values`; classes that are `known` may have no samples."""
    if not asked.names:
        names = ordered_names([*known, *values])
        return replace(samples, labels=np.array([names.index(value) for value in values], np.int64), names=names)
    labels, names = numbered(values, asked.names, where=asked.place)
    return replace(samples, labels=labels, names=names)


def _labels_of_names(files: list[Path], asked: Asked) -> list[str]:
    """Return what the pattern's first group is in each file's name.

    Raises:
        DataError: it is no pattern, or a name does not match.
    """
    text = asked.options.label_pattern or ""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise DataError(f"{asked.source}: label_pattern is no regular expression: {error}") from error
    if not pattern.groups:
        raise DataError(f"{asked.source}: label_pattern has no group; put the label's part in brackets, such as ([0-9])_")
    matches = [pattern.search(file.name) for file in files]
    found = [None if match is None else match[1] for match in matches]
    if None in found:
        raise DataError(f"{files[found.index(None)]}: its name does not match label_pattern {text}")
    return [label for label in found if label is not None]


def _image_steps(asked: Asked) -> ImageInput:
    """Return how images become inputs: as the source says, else as the processor file of the model's folder."""
    from edgeopt.data.preprocessing import ImageInput, read_image_input

    stated = asked.reader.preprocessing
    if asked.options.preprocessing is None and isinstance(stated, ImageInput):
        return stated
    return read_image_input(asked.options.preprocessing or preprocessing_file(asked.reader.folder), asked.source)


def preprocessing_file(folder: Path | None) -> Path | None:
    """Return the file in a model's folder that says how images become inputs; None: there is none."""
    files = [folder / name for name in ("preprocessing.toml", "preprocessor_config.json")] if folder is not None else []
    return next((file for file in files if file.is_file()), None)


def _recordings(asked: Asked) -> Samples:
    from edgeopt.data.audio import read_recordings, recording_files

    files, folders = recording_files(asked.path)
    samples = _sound(files, asked) if files else read_recordings(asked.path, asked.input_name())
    if asked.options.label_pattern:
        return _named_labels(samples, _labels_of_names(files, asked), asked)
    return _named_labels(samples, folders, asked) if folders else samples


def _sound(files: list[Path], asked: Asked) -> Samples:
    """Return recordings as the source's preprocessing says, else as they are, with the source's simple options."""
    from edgeopt.data.audio import AudioOptions, read_prepared, read_recording_files

    options, steps = asked.options, _audio_steps(asked)
    if steps is not None:
        return read_prepared(files, asked.input_name(stated=steps.input), steps)
    name = asked.input_name()
    samples = read_recording_files(files, name, AudioOptions(options.rate, options.length, options.normalise))
    return samples if options.normalise else replace(samples, ranges={name: (-1.0, 1.0)})


def _audio_steps(asked: Asked) -> AudioInput | None:
    """Return how recordings become inputs, as the source or the model's folder says; None: as they are.

    Raises:
        DataError: the file is about something else.
    """
    from edgeopt.data.preprocessing import AudioInput, read_preprocessing_file

    stated = asked.reader.preprocessing
    if asked.options.preprocessing is None:
        if isinstance(stated, AudioInput):
            return stated
        path = preprocessing_file(asked.reader.folder)
        if path is None or path.suffix != ".toml":
            return None
    else:
        path = asked.options.preprocessing
    steps = read_preprocessing_file(path)
    if not isinstance(steps, AudioInput):
        raise DataError(f"{path}: is preprocessing of kind '{steps.kind}', and recordings need kind = \"audio\"")
    return steps


def _table(asked: Asked) -> Samples:
    from edgeopt.data.table_rows import samples_of_rows
    from edgeopt.data.table_texts import RowsOptions, read_rows
    from edgeopt.data.text import windows
    from edgeopt.documents import read_text

    options, path = asked.options, asked.path
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if asked.reader.task == "text-generation" and path.suffix.lower() == ".txt":
        text = read_text(path, error=DataError, what="a text")
        return windows(text, asked.tokenizer(), text_options(options, asked.reader), made_from=sha256(path))
    columns = tuple(options.columns.split(",")) if options.columns else ()
    rows = read_rows(path, RowsOptions(columns, options.separator))
    if options.image or options.audio:
        return _files_of_rows(asked, rows)
    digest, form = sha256(path), text_options(options, asked.reader)
    return samples_of_rows(rows, row_options(asked), asked.tokenizer(), form, where=str(path), digest=digest)


def row_options(asked: Asked) -> RowOptions:
    """Return the columns that a source names, with what is known of the model."""
    from edgeopt.data.table_rows import RowOptions

    options, reader = asked.options, asked.reader
    several = tuple(options.labels.split(",")) if options.labels else ()
    return RowOptions(options.text, options.pair, options.label, several, options.target, reader.task, asked.names)


def _files_of_rows(asked: Asked, rows: list[dict[str, Any]]) -> Samples:
    """Return the images or recordings that a table names, with the table's labels."""
    options = asked.options
    column = options.image or options.audio or ""
    if column not in rows[0]:
        raise DataError(f"{asked.place}: no column '{column}'; it has: {', '.join(map(str, rows[0]))}")
    folder = options.images or asked.path.parent
    files = [_file(folder, str(row[column])) for row in rows]
    if options.image:
        need("PIL", purpose="reading images")
        from edgeopt.data.images import read_image_files

        steps = _image_steps(asked)
        name = asked.input_name(stated=steps.input)
        samples = replace(read_image_files(files, name, steps), ranges=image_range(steps, [name]))
    else:
        samples = _sound(files, asked)
    if options.text is not None and options.label is None:
        return _spoken(samples, [str(row[options.text]) for row in rows], asked)
    return _with_column(samples, rows, asked)


def _spoken(samples: Samples, texts: list[str], asked: Asked) -> Samples:
    """Return recordings with what is said in them, as letters of the model's vocabulary and as tokens of its tokenizer."""
    from edgeopt.data.model_folder import vocabulary_of
    from edgeopt.data.table_rows import with_texts

    folder, names = asked.reader.folder, asked.names
    if folder is not None and not has_names(names):
        names = vocabulary_of(folder) or names
    tokenizer = asked.options.tokenizer or asked.reader.tokenizer
    if tokenizer is not None:
        samples = with_texts(samples, texts, tokenizer, asked.options.max_length)
    return replace(samples, annotations=texts, names=names)


def _with_column(samples: Samples, rows: list[dict[str, Any]], asked: Asked, *, names: tuple[str, ...] = ()) -> Samples:
    """Return samples with the labels of the rows: of the column that the source names, or that is called label or class.

    Raises:
        DataError: a label is missing or is not one of the model's.
    """
    from edgeopt.data.table_rows import with_labels

    label = _label_column(asked, list(rows[0]))
    labelled = with_labels(
        samples, rows, replace(row_options(asked), label=label, names=names or asked.names), where=asked.place
    )
    if labelled.labels is not None and asked.options.first_label:
        labelled = replace(labelled, labels=labelled.labels - asked.options.first_label)
    return labelled


def _label_column(asked: Asked, columns: list[str]) -> str | None:
    """Return the column that the source names, else the one that is called label or class; None: there is none.

    Raises:
        DataError: the source names a column that is not there.
    """
    chosen = row_options(asked)
    for name in (chosen.label, *chosen.labels):
        if name is not None and name not in columns:
            raise DataError(
                f"{asked.place}: no column '{name}'{nearest(name, columns)}; it has: {', '.join(map(str, columns))}"
            )
    return chosen.label or next((name for name in _LABELS if name in columns), None)


def _file(folder: Path, name: str) -> Path:
    """Return the file that a table names, with or without its suffix.

    Raises:
        DataError: there is none.
    """
    path = folder / name
    if path.is_file():
        return path
    found = sorted(folder.glob(f"{name}.*"))
    if len(found) != 1:
        raise DataError(f"{path}: the table names it, and there is no such file; say where they are with ?images=FOLDER")
    return found[0]


def _tokens(asked: Asked) -> Samples:
    from edgeopt.data.token_files import read_tokens

    form = text_options(asked.options, asked.reader)
    return read_tokens(asked.path, asked.tokenizer(), form, model_names=asked.names)


def _sentences(asked: Asked) -> Samples:
    from edgeopt.data.text import read_sentences

    form = text_options(asked.options, asked.reader)
    samples = read_sentences(asked.path, asked.tokenizer(), max_length=form.max_length, inputs=list(form.inputs))
    return replace(samples, names=asked.names)


def _boxes(asked: Asked) -> Samples:
    need("PIL", purpose="reading images")
    from edgeopt.data.boxes import read_boxes

    steps = _image_steps(asked)
    name = asked.input_name(stated=steps.input)
    samples = read_boxes(asked.path, name, steps, images=asked.options.images, model_names=asked.names)
    return replace(samples, ranges=image_range(steps, [name]))


def _maps(asked: Asked) -> Samples:
    need("PIL", purpose="reading images")
    from edgeopt.data.maps import read_maps

    steps = _image_steps(asked)
    name = asked.input_name(stated=steps.input)
    return replace(read_maps(asked.path, name, steps), ranges=image_range(steps, [name]), names=asked.names)


def _dataset(asked: Asked) -> Samples:
    """Return a data set's rows: a column of images, columns called as the model's inputs, or texts as in a table."""
    from edgeopt.data.hub import open_dataset

    data, inputs = open_dataset(asked.place, asked.options), asked.reader.inputs
    image = data.image_column()
    if image is not None:
        steps = _image_steps(asked)
        name = asked.input_name(stated=steps.input)
        samples = replace(data.images(image, name, steps), ranges=image_range(steps, [name]))
    elif inputs and set(inputs) <= set(data.columns):
        samples = data.arrays(inputs)
    else:
        return _texts_of_dataset(data, asked)
    label = _label_column(asked, [name for name in data.columns if name not in {image, *inputs}])
    columns = [*([] if label is None else [label]), *row_options(asked).labels]
    if not columns:
        return samples
    rows = _labelled_rows(data, asked, columns)
    return _with_column(samples, rows, asked, names=_names(data, asked, label))


def _texts_of_dataset(data: HubData, asked: Asked) -> Samples:
    """Return rows of text as those of a table are."""
    from edgeopt.data.table_rows import LABELS, samples_of_rows

    rows, options, form = (
        _labelled_rows(data, asked, data.columns),
        row_options(asked),
        text_options(asked.options, asked.reader),
    )
    label = options.label or next((name for name in LABELS if name in rows[0]), None)
    options = replace(options, names=_names(data, asked, label))
    return samples_of_rows(rows, options, asked.tokenizer(), form, where=asked.place, digest=data.digest)


def _names(data: HubData, asked: Asked, label: str | None) -> tuple[str, ...]:
    """Return the names of the classes by number: the model's, else the data set's."""
    stated = () if label is None else data.class_names(label)
    return asked.names if has_names(asked.names) else stated or asked.names


def _labelled_rows(data: HubData, asked: Asked, columns: list[str]) -> list[dict[str, Any]]:
    """Return those columns of a data set, classes as the model numbers them; one of classes without any label is left out."""
    rows = data.rows(columns, model_names=asked.names)
    for name in columns:
        if name != asked.options.label and data.class_names(name) and all(row[name] is None for row in rows):
            rows = [{other: cell for other, cell in row.items() if other != name} for row in rows]
    return rows


def _callable(asked: Asked) -> Samples:
    from edgeopt.data.callables import call_source

    return _with_names(call_source(asked.place), asked)


READERS: Mapping[str, Callable[[Asked], Samples]] = {
    "arrays": _arrays,
    "images": _images,
    "recordings": _recordings,
    "table": _table,
    "tokens": _tokens,
    "sentences": _sentences,
    "boxes": _boxes,
    "maps": _maps,
    "dataset": _dataset,
    "callable": _callable,
}
"""By kind (`edgeopt.data.source_kinds`)."""
