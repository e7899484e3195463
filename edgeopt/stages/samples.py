"""The samples of a recipe, split by split."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.data.manifest import Manifest, load_manifest
from edgeopt.errors import RecipeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeopt.batches import Batch
    from edgeopt.data.samples import Samples
    from edgeopt.data.source_options import Reader
    from edgeopt.recipe import DataOptions


class Data:
    """The recipe's samples, read at first use.

    Args:
        options: which samples.
        tokenizer: the folder with the teacher's tokenizer.
        model: the ONNX file that enters, if one does; samples of files are fitted to it.
        folder: the teacher's, with its processor files.
        task: of the run, by any of its names; None: the data say it.
        seed: of the picks that limits make.
    """

    def __init__(
        self,
        options: DataOptions,
        tokenizer: Path | None,
        *,
        model: Path | None = None,
        folder: Path | None = None,
        task: str | None = None,
        seed: int = 0,
    ) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self._folder = folder
        self._task = task
        self.warnings: list[str] = []
        self._model = model
        self._seed = seed

    @cached_property
    def manifest(self) -> Manifest:
        """The set's manifest; for any other source one that says what is known of it."""
        source = self._source
        if self._is_set:
            return load_manifest(source)
        from edgeopt.data.source import described

        samples = self._opened["calibration"]
        found = described(source, samples, self._reader())
        return found.model_copy(update={"labels": list(samples.names) or found.labels})

    @property
    def _source(self) -> str:
        """The source that stands for the data: the set, or the first of those that are named."""
        options = self.options
        return next(source for source in (options.set, options.train, options.calibration, options.evaluation) if source)

    @property
    def own_tokenizer(self) -> Path | None:
        """The folder of the texts' tokenizer: that of the source, else the teacher's; None: there is none."""
        from edgeopt.data.source import tokenizer_of

        return self.tokenizer if self._is_set else tokenizer_of(self._source) or self.tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the data that the samples are read from."""
        from edgeopt.data.sets import fingerprint

        own = " ".join(samples.digest for _, samples in sorted(self._opened.items()))
        parts = [fingerprint(self._source, tokenizer=self.tokenizer)] if self._is_set else []
        return " ".join([*parts, own]).strip()

    @cached_property
    def _is_set(self) -> bool:
        from edgeopt.data.source import is_set

        return self.options.set is not None and is_set(self.options.set)

    @cached_property
    def _opened(self) -> dict[str, Samples]:
        """The splits that the recipe names by a source of their own, or that a source which is no set stands for."""
        options = self.options
        named = {"train": options.train, "calibration": options.calibration, "evaluation": options.evaluation}
        opened = {split: self._open(source, split) for split, source in named.items() if source is not None}
        if self._is_set:
            return opened
        if options.set is not None:
            whole = self._open(options.set, "calibration")
            return {"train": whole, "calibration": whole, **opened}
        return self._completed(opened)

    def _completed(self, opened: dict[str, Samples]) -> dict[str, Samples]:
        """Return the splits of sources that are named without a set: one alone is split, once, by the seed."""
        from edgeopt.data.split import MODEL_SHARES, SHARES, split

        if len(opened) == 1:
            (whole,) = opened.values()
            return split(whole, MODEL_SHARES if self._model is not None else SHARES, seed=self._seed)
        if "calibration" not in opened:
            opened["calibration"] = opened["train"]
        return opened

    def _open(self, source: str, split: str) -> Samples:
        from edgeopt.data.fit import floats_as
        from edgeopt.data.source import open_source

        samples = open_source(source, self._reader(), split=split)
        return samples if self._model is not None else floats_as(samples, "float32", whole=False)

    def _reader(self) -> Reader:
        """Return what is known about the model that takes the samples."""
        from edgeopt.data.model_folder import FolderFacts, facts_of
        from edgeopt.data.source_options import Reader
        from edgeopt.graph import files
        from edgeopt.tasks.registry import reading_name

        task = reading_name(self._task)
        if self._model is not None:
            signature = files.signature(files.load(self._model))
            inputs, folder = tuple(spec.name for spec in signature.inputs), self._model.parent
            facts = facts_of(folder)
            return Reader(inputs, self.tokenizer, signature, folder, facts.names, task, self.options.preprocessing)
        facts = facts_of(self._folder) if self._folder is not None else FolderFacts()
        inputs = tuple(item.name for item in self.manifest.inputs) if self._is_set else facts.inputs
        task = task or reading_name(facts.task)
        return Reader(inputs, self.tokenizer, None, self._folder, facts.names, task, self.options.preprocessing)

    @cached_property
    def _splits(self) -> dict[str, Samples]:
        from edgeopt.data.sets import load_set

        splits = load_set(self._source, tokenizer=self.tokenizer) if self._is_set else {}
        return {**splits, **self._opened}

    def example(self) -> Batch:
        """Return one real sample, the same for every stage that counts MACs."""
        return self._splits["train" if "train" in self._splits else "calibration"].collate([0])

    @cached_property
    def evaluated(self) -> frozenset[str]:
        """Hashes of the evaluation samples; empty if the set has no evaluation split."""
        from edgeopt.data.checks import digests

        return digests(self._splits["evaluation"]) if "evaluation" in self._splits else frozenset()

    def whole(self, name: str) -> Samples:
        """Return all samples of the split `name`."""
        if name not in self._splits:
            raise RecipeError(f"data set '{self._source}' has no {name} split; it has: {', '.join(self._splits)}")
        return self._splits[name]

    def has_own(self, name: str) -> bool:
        """Return whether there is a split `name` whose samples are not those of the training split."""
        return name in self._splits and self._splits[name] is not self._splits.get("train")

    def further(self, source: str) -> Samples:
        """Return the samples of another source, in the form of the recipe's own."""
        return self._open(source, "train")

    def split(self, name: str) -> Samples:
        """Return the split `name`, as many as its limit, picked over the labels; a split that misses classes is a warning.

        Without an evaluation split, the calibration samples stand in for it.
        """
        from edgeopt.data.labels import missing_classes
        from edgeopt.data.select import limited

        if name == "evaluation" and name not in self._splits:
            name = "calibration"
        samples = limited(self.whole(name), getattr(self.options, f"{name}_limit"), seed=self._seed)
        warning = missing_classes(samples.labels, self._classes, where=f"the {name} split")
        if warning and warning not in self.warnings:
            self.warnings.append(warning)
        return samples

    @cached_property
    def _classes(self) -> NDArray[np.int64]:
        """The classes that the manifest names or any split has samples of."""
        import numpy as np

        found = [samples.labels for samples in self._splits.values() if samples.labels is not None]
        return np.unique(np.concatenate([np.arange(len(self.manifest.labels), dtype=np.int64), *found]))
