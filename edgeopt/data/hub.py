"""Data sets of the hub, or ones that `save_to_disk` wrote, through the package `datasets` (an extra)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt import progress
from edgeopt.data.label_names import are_known, has_names, some_of
from edgeopt.data.samples import Sample, Samples
from edgeopt.data.source_kinds import is_saved_dataset
from edgeopt.errors import DataError
from edgeopt.extras import need

if TYPE_CHECKING:
    from edgeopt.data.preprocessing import ImageInput
    from edgeopt.data.source_options import SourceOptions


_FILES = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""Suffix of a local file → the reader of `datasets`."""


@dataclass(frozen=True)
class HubData:
    """One split of a data set, opened: its rows, and what its columns hold."""

    place: str
    digest: str
    _data: Any = field(repr=False)

    @property
    def columns(self) -> list[str]:
        """Return the names of its columns."""
        return [str(name) for name in self._data.column_names]

    def image_column(self) -> str | None:
        """Return the column of images, None if there is none.

        Raises:
            DataError: several columns hold images.
        """
        found = [name for name, feature in self._data.features.items() if type(feature).__name__ == "Image"]
        if len(found) > 1:
            raise DataError(f"{self.place}: several columns hold images ({', '.join(found)}); select one first")
        return str(found[0]) if found else None

    def class_names(self, column: str) -> tuple[str, ...]:
        """Return the names of the classes in a column by number; empty: it states none."""
        feature = self._data.features.get(column)
        return tuple(map(str, feature.names)) if type(feature).__name__ == "ClassLabel" else ()

    def rows(self, columns: Sequence[str] | None = None, *, model_names: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return the rows, or those columns of them.

        Args:
            columns: to read; None: all.
            model_names: names of the model's classes, by number; empty: not known.

        Returns:
            Cells by column name. A class is its name where the model has a class of each name, else its number; None where the
            data set has no label (-1).
        """
        data = self._data if columns is None else self._data.select_columns(list(columns))
        rows: list[dict[str, Any]] = data.to_list()
        for column in data.column_names:
            names = self.class_names(column)
            by_name = are_known(names, model_names)
            if has_names(model_names) and names and not by_name:
                progress.note(
                    f"{self.place}: column '{column}' has other classes than the model ({some_of(names)}); used by number"
                )
            for row in rows if names else ():
                known = isinstance(row[column], int) and 0 <= row[column] < len(names)
                row[column] = None if not known else names[row[column]] if by_name else row[column]
        return rows

    def images(self, column: str, name: str, preprocessing: ImageInput) -> Samples:
        """Return the images of a column as samples for the input `name`; they are decoded when they are asked for."""
        need("PIL", purpose="reading images")
        from edgeopt.data.images import UNREADABLE, prepared, unreadable

        def read(index: int) -> Sample:
            try:
                return {name: prepared(self._data[index][column], preprocessing)}
            except UNREADABLE as error:
                raise unreadable(f"{self.place}: row {index}", error) from error

        digest = hashlib.sha256(f"{self.digest} {preprocessing.model_dump_json()}".encode()).hexdigest()
        return Samples(len(self._data), read, None, digest)

    def arrays(self, names: Sequence[str]) -> Samples:
        """Return the columns that are called as the model's inputs as samples."""
        rows = self._data.with_format("numpy", columns=list(names))

        def read(index: int) -> Sample:
            row = rows[index]
            return {name: np.asarray(row[name]) for name in names}

        return Samples(len(rows), read, None, self.digest)


def open_dataset(place: str, options: SourceOptions) -> HubData:
    """Return a data set: ``hub:NAME``, ``hub:FILE.parquet`` or a folder.

    Raises:
        DataError: it cannot be read, has several splits of which none is named, or no rows.
        MachineError: the package `datasets` is not installed.
    """
    need("datasets", purpose=f"reading {place}")
    data = _loaded(place, options)
    if isinstance(data, dict):
        if options.split not in data:
            raise DataError(f"{place}: which split? write ?split=NAME; it has: {', '.join(data)}")
        data = data[options.split]
    if not len(data):
        raise DataError(f"{place}: the data set has no rows")
    digest = hashlib.sha256(f"{data._fingerprint} {options.model_dump_json()}".encode()).hexdigest()
    return HubData(place, digest, data)


def _loaded(place: str, options: SourceOptions) -> Any:
    """Return the data set, or its splits by name."""
    import datasets

    try:
        name = place.removeprefix("hub:")
        if Path(name).is_dir() and is_saved_dataset(Path(name)):
            return datasets.load_from_disk(name)
        form = _FILES.get(Path(name).suffix.lower())
        if form is not None:
            return datasets.load_dataset(form, data_files=name, split=options.split or "train")
        return datasets.load_dataset(name, options.config, split=options.split, revision=options.revision)
    except Exception as error:  # (what it raises has no common base)
        raise DataError(f"{place}: the data set cannot be loaded: {' '.join(str(error).split())[:300]}") from error
