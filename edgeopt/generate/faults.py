"""The engine's errors as edgeopt's: the engine travels in bundles and knows nothing of `edgeopt.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgeopt.errors import EdgeoptError, MachineError, ModelError, RecipeError
from edgeopt.generate.engine.errors import CacheError, EngineError, FolderError, PromptError

_KINDS: dict[type[EngineError], type[EdgeoptError]] = {
    PromptError: RecipeError,
    FolderError: ModelError,
    CacheError: MachineError,
}


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise the engine's errors in the block as edgeopt's.

    Raises:
        RecipeError: the prompt, the messages or an option must change.
        ModelError: the folder does not hold a model that the engine runs.
        MachineError: there is no memory for the cache.
    """
    try:
        yield
    except EngineError as error:
        kind = next((_KINDS[base] for base in type(error).__mro__ if base in _KINDS), ModelError)
        raise kind(str(error)) from error
