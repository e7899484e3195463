"""Data sets of the hub, or ones that `save_to_disk` wrote, through the package `datasets` (an extra)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.data.samples import Sample, Samples
from edgeopt.errors import DataError
from edgeopt.extras import need

if TYPE_CHECKING:
    from edgeopt.data.source_options import Reader, SourceOptions


_FILES = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""Suffix of a local file → the reader of `datasets`."""


def read_dataset(place: str, options: SourceOptions, reader: Reader, tokenizer: Path | None) -> Samples:
    """Return the rows of a data set as samples.

    A column of images goes through the preprocessing, a column of text through the tokenizer; without either, columns with
    the names of the model's inputs are read as arrays.

    Raises:
        DataError: it cannot be read, or the columns are ambiguous.
        MachineError: the package `datasets` is not installed.
    """
    need("datasets", purpose=f"reading {place}")
    data, digest = _opened(place, options)
    if not len(data):
        raise DataError(f"{place}: the data set has no rows")
    if any(type(feature).__name__ == "Image" for feature in data.features.values()):
        return _images(data, digest, place, options, reader)
    if reader.inputs and set(reader.inputs) <= set(data.column_names):
        rows = data.with_format("numpy", columns=list(reader.inputs))
        return Samples(len(data), lambda index: _row(rows[index], reader.inputs), None, digest)
    return _texts(data, digest, place, options, reader, tokenizer=tokenizer)


def _opened(place: str, options: SourceOptions) -> tuple[Any, str]:
    """Return the data set and its hash."""
    import datasets

    try:
        if place.startswith("hub:"):
            name = place.removeprefix("hub:")
            form = _FILES.get(Path(name).suffix.lower())
            if form is not None:
                data = datasets.load_dataset(form, data_files=name, split=options.split or "train")
            else:
                data = datasets.load_dataset(name, options.config, split=options.split, revision=options.revision)
        else:
            data = datasets.load_from_disk(place)
    except Exception as error:  # (what it raises has no common base)
        raise DataError(f"{place}: the data set cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    if isinstance(data, dict):
        if options.split not in data:
            raise DataError(f"{place}: which split? write ?split=NAME; it has: {', '.join(data)}")
        data = data[options.split]
    return data, hashlib.sha256(f"{data._fingerprint} {options.model_dump_json()}".encode()).hexdigest()


def _row(row: dict[str, Any], names: Any) -> Sample:
    return {name: np.asarray(row[name]) for name in names}


def _images(data: Any, digest: str, place: str, options: SourceOptions, reader: Reader) -> Samples:
    need("PIL", purpose="reading images")
    from edgeopt.data.images import prepared
    from edgeopt.data.preprocessing import read_image_input

    columns = [name for name, feature in data.features.items() if type(feature).__name__ == "Image"]
    if len(columns) != 1:
        raise DataError(f"{place}: several columns hold images ({', '.join(columns)}); select one first")
    preprocessing = read_image_input(options.preprocessing, place)
    if options.input is None and len(reader.inputs) != 1:
        raise DataError(f"{place}: which model input do the images feed? write ?input=NAME")
    name = options.input or reader.inputs[0]
    label = options.label or ("label" if "label" in data.column_names else None)
    labels = None if label is None else np.array(data[label], dtype=np.int64)
    return Samples(len(data), lambda index: {name: prepared(data[index][columns[0]], preprocessing)}, labels, digest)


def _texts(data: Any, digest: str, place: str, options: SourceOptions, reader: Reader, *, tokenizer: Path | None) -> Samples:
    from edgeopt.data.source_options import need_tokenizer, text_options
    from edgeopt.data.tables import Columns, from_rows
    from edgeopt.data.text import tokenized

    texts, labels = from_rows(data.to_list(), Columns(options.text, options.pair, options.label), where=place)
    folder = need_tokenizer(tokenizer, place)
    return tokenized(texts, labels, folder, text_options(options, reader), made_from=digest)
