"""What is known where samples are read: the options of their source, and the model that is to take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edgeopt.config import Options
from edgeopt.errors import DataError

if TYPE_CHECKING:
    from edgeopt.data.preprocessing import Preprocessing
    from edgeopt.data.text import TextOptions
    from edgeopt.graph.signature import Signature


class SourceOptions(Options):
    """Options of a source of samples; each kind of source takes some of them."""

    text: str | None = None
    """Column of the text."""
    pair: str | None = None
    """Column of the second text, for models that take pairs."""
    label: str | None = None
    """Column of the label."""
    labels: str | None = None
    """Columns of zeros and ones, one per class, separated by commas: several classes per sample."""
    classes: str | None = None
    """Names of the classes (or tags) by number, separated by commas; none: those of the model, else in alphabetical order."""
    target: str | None = None
    """Column of the text that the model is to write."""
    columns: str | None = None
    """Names of the columns of a table without a heading, separated by commas."""
    separator: Literal["comma", "tab", "semicolon"] | None = None
    """What separates the cells of a .csv file; none: a tab where the first line has one, else a comma."""
    image: str | None = None
    """Column of a table with the names of image files."""
    audio: str | None = None
    """Column of a table with the names of .wav files."""
    images: Path | None = Field(default=None, strict=False)
    """Folder of the images (or recordings) that annotations or a table name; none: beside the file."""
    label_pattern: str | None = None
    """Regular expression whose first group, in the name of a file, is its label."""
    first_label: int = Field(default=0, ge=-1_000_000, le=1_000_000, strict=False)
    """Number from which the classes of a table are counted."""
    max_length: int = Field(default=128, ge=1, strict=False)
    """Longer texts are cut to this many tokens."""
    tokenizer: Path | None = Field(default=None, strict=False)
    """Folder with tokenizer.json."""
    preprocessing: Path | None = Field(default=None, strict=False)
    """How images become inputs: a .toml file of preprocessing options, or a transformers preprocessor_config.json."""
    input: str | None = None
    """Model input that images or recordings feed; none: the model's first."""
    rate: int | None = Field(default=None, ge=1, strict=False)
    """Sampling rate in Hz that every recording must have; none: that of the first recording."""
    length: int | None = Field(default=None, ge=1, strict=False)
    """Number of samples to which recordings are cut at the end, or padded with silence; none: unchanged."""
    normalise: bool = Field(default=False, strict=False)
    """Normalise recordings to mean 0 and variance 1."""
    split: str | None = None
    """Split of a hub data set."""
    config: str | None = None
    """Configuration of a hub data set."""
    revision: str | None = None
    """Revision of a hub data set."""


@dataclass(frozen=True)
class Reader:
    """What is known about the model that takes the samples."""

    inputs: Sequence[str] = field(default=())
    """Names of its inputs; empty: not known."""
    tokenizer: Path | None = None
    """Folder with tokenizer.json, where the source names none."""
    signature: Signature | None = None
    """What the model takes; the samples then come as it takes them (`edgeopt.data.fit`)."""
    folder: Path | None = None
    """Folder of the model, whose processor files say how images and recordings become inputs."""
    names: tuple[str, ...] = ()
    """Names of the model's classes by number; empty: not known."""
    task: str | None = None
    """What the model is for, by the task's own name (`edgeopt.tasks.registry`)."""
    preprocessing: Preprocessing | None = None
    """How images and recordings become inputs, where the source states nothing; None: as the files in `folder` say."""


@dataclass(frozen=True)
class Asked:
    """One source that is to be read: as it was written, its place, its options, and the model."""

    source: str
    place: str
    options: SourceOptions
    reader: Reader

    @property
    def path(self) -> Path:
        """Return the place as a path."""
        return Path(self.place)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the classes by number, as the source or the model states them; empty: not known."""
        return tuple(self.options.classes.split(",")) if self.options.classes else self.reader.names

    def tokenizer(self) -> Path:
        """Return the tokenizer's folder, or say that texts need one."""
        return need_tokenizer(self.options.tokenizer or self.reader.tokenizer or self.reader.folder, self.place)

    def input_name(self, *, stated: str | None = None) -> str:
        """Return the model input that images or recordings feed.

        Raises:
            DataError: the model has several, and none is named.
        """
        name = self.options.input or stated
        if name is not None:
            return name
        inputs = self.reader.inputs
        if len(inputs) == 1:
            return inputs[0]
        known = f"the model has {', '.join(inputs)}" if inputs else "the model is not known"
        raise DataError(f"{self.source}: which model input does it feed? {known}: write ?input=NAME")


def need_tokenizer(tokenizer: Path | None, source: str) -> Path:
    """Return the tokenizer's folder, or say that texts need one."""
    if tokenizer is None:
        raise DataError(f"{source}: texts need a tokenizer: name the folder that holds tokenizer.json with --tokenizer")
    return tokenizer


def text_options(options: SourceOptions, reader: Reader) -> TextOptions:
    """Return how texts are tokenized for the model: for those of its inputs that a tokenizer feeds, or ids and mask.

    Models that write texts do not ask which of two texts a token is from, whatever their tokenizer could tell.
    """
    from edgeopt.data.text import TextOptions

    writes = reader.task in {"text-generation", "text2text-generation"} and reader.signature is None
    inputs = tuple(name for name in reader.inputs if not (writes and name == "token_type_ids"))
    return TextOptions(options.max_length, inputs or TextOptions().inputs)
