"""What commands that train share: samples from any source, and a checkpoint beside the output that a killed run resumes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.train.loop import Session


def training_samples(data: str, model: LoadedModel, *, task: str | None = None) -> Samples:
    """Return the samples that `data` names, of a calibration set its training split; see `edgeopt.data.source`."""
    return reader_samples(data, model, split="train", task=task)


def reader_samples(
    data: str, model: LoadedModel, *, split: str, inputs: Sequence[str] = (), task: str | None = None
) -> Samples:
    """Return the samples that `data` names as the model takes them; of a calibration set the split called `split`.

    Args:
        data: a source of samples.
        model: whose tokenizer, processor files and names of classes are used.
        split: split of a calibration set.
        inputs: names of the inputs, where other samples have shown them; empty: as the model's folder says.
        task: what the model is for; None: what its folder says.
    """
    from edgeopt.data.fit import floats_as
    from edgeopt.data.model_folder import FolderFacts, facts_of
    from edgeopt.models.call import accepted, float_type

    facts = facts_of(model.folder) if model.folder is not None else FolderFacts()
    known = inputs or accepted(model.module, facts.inputs)
    samples = _read(data, model.folder, model.labels or facts.names, split=split, inputs=known, task=task or model.task)
    return floats_as(samples, float_type(model.module))


def _read(
    data: str,
    folder: Path | None,
    names: Sequence[str],
    *,
    split: str = "train",
    inputs: Sequence[str] = (),
    task: str | None = None,
) -> Samples:
    """Return samples for the model in `folder`, whose classes have these names."""
    from edgeopt.data.model_folder import FolderFacts, facts_of
    from edgeopt.data.source import is_set, open_source
    from edgeopt.data.source_options import Reader
    from edgeopt.tasks.registry import reading_name

    facts = facts_of(folder) if folder is not None else FolderFacts()
    tokenizer = folder if folder is not None and (folder / "tokenizer.json").is_file() else None
    known = tuple(inputs) or (() if is_set(data) else facts.inputs)
    return open_source(data, Reader(known, tokenizer, None, folder, tuple(names), reading_name(task)), split=split)


def to_train(source: str, data: str, *, task: str | None, builder: str | None, seed: int) -> tuple[LoadedModel, Samples]:
    """Return the model at `source` and its training samples; a transformers folder gets a head for their task and classes.

    Its own head is trained further where it answers the samples' classes; where it has none, or one for other classes, a new
    one takes its place, and a note says so.
    """
    from edgeopt import progress
    from edgeopt.models.load import MODEL_FILE, LoadedModel, head_of, load_model
    from edgeopt.models.new_head import new_head
    from edgeopt.train.head import described, missing_head, reading_task

    folder = Path(source)
    if not (folder / "config.json").is_file() or (folder / MODEL_FILE).is_file():
        loaded = load_model(source, task=task, source_builder=builder)
        return loaded, training_samples(data, loaded, task=task)
    own, names = head_of(folder)
    wanted = missing_head(_read(data, folder, (), task=reading_task(task, own)), task, own, names)
    if wanted is None:
        loaded = load_model(source, task=task, source_builder=builder)
        return loaded, training_samples(data, loaded, task=task)
    before = f", in place of {described(own, names)}" if reading_task(None, own) else ""
    progress.note(f"{folder.name} gets a new head: {described(*wanted)}{before}")
    module = new_head(source, wanted.task, wanted.names, seed)
    loaded = LoadedModel(module, wanted.task, folder, wanted.names)
    return loaded, _read(data, folder, wanted.names, task=task or wanted.task)


def numbers(text: str) -> list[int]:
    """Return the numbers in ``1,3,5``."""
    from edgeopt.errors import RecipeError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise RecipeError(f"--layers {text}: write the numbers of the teacher's layers, from 0, such as 1,3,5")
    return [int(part) for part in parts]


@overload
def seconds_of(option: str, text: str) -> float: ...


@overload
def seconds_of(option: str, text: None) -> None: ...


def seconds_of(option: str, text: str | None) -> float | None:
    """Return the seconds in ``20m``, ``90s``, ``1h`` or ``90``; None for None.

    Raises:
        RecipeError: it is none of these.
    """
    from edgeopt.errors import RecipeError
    from edgeopt.units import read_seconds

    if text is None:
        return None
    try:
        return read_seconds(text)
    except ValueError as error:
        raise RecipeError(f"{option} {text}: {error}") from error


def time_limit(text: str | None, changes: Sequence[str] | None) -> list[str]:
    """Return the options that ``--time 20m`` stands for: the time, and epochs that do not end before it.

    Raises:
        RecipeError: the text is no time.
    """
    if text is None:
        return []
    epochs = [] if any(change.startswith("train.epochs=") for change in changes or ()) else ["train.epochs=1000.0"]
    return [f"train.max_seconds={seconds_of('--time', text)}", *epochs]


@contextmanager
def resumable(
    output: Path, *, seed: int, models: Sequence[LoadedModel], samples: Samples, options: Mapping[str, Any]
) -> Iterator[Session]:
    """Yield the session of a training that a later call with the very same arguments goes on with if this one is killed.

    Its checkpoint lies in ``.<name>.checkpoint`` beside the output and goes away when the training is done.
    """
    from edgeopt import __version__
    from edgeopt.files import disk_errors
    from edgeopt.store import key_of
    from edgeopt.train.checkpoint import weights_hash
    from edgeopt.train.launched import rank
    from edgeopt.train.loop import Session

    output = Path(output)
    folder = output.with_name(f".{output.name}.checkpoint")
    weights = [weights_hash(model.module) for model in models]
    key = key_of({"models": weights, "data": samples.digest, "options": options, "seed": seed, "edgeopt": __version__})
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    yield Session(seed, folder, key, output.with_name(f"{output.name}.logs"))
    if not rank():
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def process_output(output: Path) -> Iterator[Path]:
    """Yield the folder that this process writes to: `output`, or of all but the first of several one that is thrown away."""
    from edgeopt.lifetime import temporary_folder
    from edgeopt.train.launched import rank

    if not rank():
        yield output
        return
    with temporary_folder() as folder:
        yield folder / output.name
