"""The samples of a recipe, split by split."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.data.manifest import Manifest, load_manifest
from edgeopt.errors import RecipeError

if TYPE_CHECKING:
    from edgeopt.batches import Batch
    from edgeopt.data.samples import Samples
    from edgeopt.recipe import DataOptions


class Data:
    """The recipe's samples, read at first use."""

    def __init__(self, options: DataOptions, tokenizer: Path | None) -> None:
        self.options = options
        self.tokenizer = tokenizer

    @cached_property
    def manifest(self) -> Manifest:
        """The set's manifest."""
        return load_manifest(self.options.set)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the data that the samples are read from."""
        from edgeopt.data.sets import fingerprint

        own = self._own_calibration
        return fingerprint(self.options.set, tokenizer=self.tokenizer) + (f" {own.digest}" if own else "")

    @cached_property
    def _own_calibration(self) -> Samples | None:
        """The samples that `calibration` names instead of the set's own."""
        if self.options.calibration is None:
            return None
        from edgeopt.data.source import Reader, open_source

        inputs = tuple(item.name for item in self.manifest.inputs)
        return open_source(self.options.calibration, Reader(inputs, self.tokenizer))

    @cached_property
    def _splits(self) -> dict[str, Samples]:
        from edgeopt.data.sets import load_set

        splits = load_set(self.options.set, tokenizer=self.tokenizer)
        return splits if self._own_calibration is None else {**splits, "calibration": self._own_calibration}

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
        """Return the split `name`, cut to its limit; without an evaluation split, the calibration samples stand in for it."""
        if name == "evaluation" and name not in self._splits:
            name = "calibration"
        samples = self.whole(name)
        limit = getattr(self.options, f"{name}_limit")
        return samples if limit is None else samples.first(limit)
