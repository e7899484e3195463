"""Samples from Python: the return value of ``module:callable``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeopt.data.samples import Sample, Samples, sample_digest
from edgeopt.errors import DataError
from edgeopt.user_code import named


def call_source(source: str) -> Samples:
    """Return the samples that ``module:callable`` returns when called without arguments.

    It returns `Samples`, or an iterable of samples: mappings of arrays by input name, without a batch axis. A sequence is read
    sample by sample when needed; anything else is read once and kept.

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

    digest = hashlib.sha256()
    for index in range(len(kept)):
        digest.update(sample_digest(read(index)).encode())
    if not kept:
        raise DataError(f"{source}: returns no samples")
    return Samples(len(kept), read, None, digest.hexdigest())


def _returned(function: Callable[[], Any], source: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise DataError(f"{source}: fails: {type(error).__name__}: {error}") from error


def _sample(value: Any, index: int, source: str) -> Sample:
    if not isinstance(value, Mapping) or not value:
        raise DataError(f"{source}: sample {index} is {type(value).__name__}; return a mapping of arrays by input name")
    return {str(name): np.asarray(array) for name, array in value.items()}
