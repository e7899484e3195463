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
    from edgeopt.recipe import DataOptions


class Data:
    """The recipe's samples, read at first use.

    Args:
        options: which samples.
        tokenizer: the folder with the teacher's tokenizer.
        model: the ONNX file that enters, if one does; samples of files are fitted to it.
        seed: of the picks that limits make.
    """

    def __init__(self, options: DataOptions, tokenizer: Path | None, *, model: Path | None = None, seed: int = 0) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self.warnings: list[str] = []
        self._model = model
        self._seed = seed

    @cached_property
    def manifest(self) -> Manifest:
        """The set's manifest; for any other source one that says what is known of it."""
        if self._is_set:
            return load_manifest(self.options.set)
        from edgeopt.data.source import described

        return described(self.options.set, self._opened["calibration"])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the data that the samples are read from."""
        from edgeopt.data.sets import fingerprint

        own = " ".join(samples.digest for _, samples in sorted(self._opened.items()))
        parts = [fingerprint(self.options.set, tokenizer=self.tokenizer)] if self._is_set else []
        return " ".join([*parts, own]).strip()

    @cached_property
    def _is_set(self) -> bool:
        from edgeopt.data.source import is_set

        return is_set(self.options.set)

    @cached_property
    def _opened(self) -> dict[str, Samples]:
        """The splits that the recipe names by a source of their own, or that a source which is no set stands for."""
        options = self.options
        named = {"train": options.train, "calibration": options.calibration, "evaluation": options.evaluation}
        opened = {split: self._open(source, split) for split, source in named.items() if source is not None}
        if self._is_set:
            return opened
        whole = self._open(options.set, "calibration")
        return {"train": whole, "calibration": whole, **opened}

    def _open(self, source: str, split: str) -> Samples:
        from edgeopt.data.source import open_source
        from edgeopt.data.source_options import Reader
        from edgeopt.graph import files

        if self._model is not None:
            signature = files.signature(files.load(self._model))
            reader = Reader(tuple(spec.name for spec in signature.inputs), self.tokenizer, signature)
        elif self._is_set:
            reader = Reader(tuple(item.name for item in self.manifest.inputs), self.tokenizer)
        else:
            reader = Reader((), self.tokenizer)
        return open_source(source, reader, split=split)

    @cached_property
    def _splits(self) -> dict[str, Samples]:
        from edgeopt.data.sets import load_set

        splits = load_set(self.options.set, tokenizer=self.tokenizer) if self._is_set else {}
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
            raise RecipeError(f"data set '{self.options.set}' has no {name} split; it has: {', '.join(self._splits)}")
        return self._splits[name]

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
