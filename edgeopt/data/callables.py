"""Samples from Python: the return value of ``module:callable``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgeopt.data.samples import Sample, Samples, sample_digest
from edgeopt.errors import DataError
from edgeopt.user_code import named

_LABELS = ("label", "labels")


def call_source(source: str) -> Samples:
    """Return the samples that ``module:callable`` returns when called without arguments.

    It returns `Samples`, or an iterable of samples: mappings of arrays by input name, without a batch axis. What is
    called label (or labels) is the sample's label: a class (its number, or a name that comes again), a number, a text, or
    several. A sequence is read sample by sample when needed; anything else is read once and kept.

    Raises:
        DataError: it cannot be imported, fails, or returns something else.
    """
    try:
        with named(source) as function:
            if not callable(function):
                raise DataError(f"{source}: is {type(function).__name__}, not a callable")
            made = _returned(function, source)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(f"{source}: cannot be imported: {error}; give an importable module:callable") from error
    if isinstance(made, Samples):
        return made
    if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping):
        raise DataError(f"{source}: returns {type(made).__name__}; return an iterable of samples, each arrays by input name")
    kept: Sequence[Any] = made if isinstance(made, Sequence) else _returned(lambda: list(made), source)

    def read(index: int) -> Sample:
        return _sample(_returned(lambda: kept[index], source), index, source)

    digest, labels = hashlib.sha256(), list[Any]()
    for index in range(len(kept)):
        sample = read(index)
        digest.update(sample_digest(sample).encode())
        labels.append(next((sample[name] for name in _LABELS if name in sample and len(sample) > 1), None))
    if not kept:
        raise DataError(f"{source}: returns no samples")
    return _labelled(Samples(len(kept), read, None, digest.hexdigest()), labels, source)


def _labelled(samples: Samples, labels: list[Any], source: str) -> Samples:
    """Return samples with what they call label as their label instead of an input.

    Raises:
        DataError: some have a label and others none.
    """
    if all(label is None for label in labels):
        return samples
    lacking = next((index for index, label in enumerate(labels) if label is None), None)
    if lacking is not None:
        raise DataError(f"{source}: sample {lacking} has no label, and others have one")

    def read(index: int) -> Sample:
        return {key: array for key, array in samples.read(index).items() if key not in _LABELS}

    if all(label.ndim == 0 and label.dtype.kind in "iu" for label in labels):
        return replace(samples, read=read, labels=np.array(labels, np.int64))
    plain = [label.item() if label.ndim == 0 else label for label in labels]
    if all(isinstance(label, str) for label in plain) and len(names := sorted(set(plain))) < len(plain):
        return replace(samples, read=read, labels=np.array([names.index(label) for label in plain]), names=tuple(names))
    return replace(samples, read=read, annotations=plain)


def _returned(function: Callable[[], Any], source: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise DataError(f"{source}: fails: {type(error).__name__}: {error}") from error


def _sample(value: Any, index: int, source: str) -> Sample:
    if not isinstance(value, Mapping) or not value:
        raise DataError(f"{source}: sample {index} is {type(value).__name__}; return a mapping of arrays by input name")
    return {str(name): np.asarray(array) for name, array in value.items()}
