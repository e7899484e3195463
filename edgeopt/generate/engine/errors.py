"""The errors of the engine, branched by who must act.

    EngineError
    ├── PromptError    the prompt, the messages or an option must change
    │   └── ContextError   prompt and answer have more tokens than the model's context
    ├── FolderError    the folder of the model is not one that the engine runs
    │   └── RunError       its graph fails while it runs
    └── CacheError     the machine has no memory for the cache

The engine travels in bundles, without the rest of edgeopt; `edgeopt.generate.faults` translates these errors at the border.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error that the engine raises."""


class PromptError(EngineError):
    """The prompt, the messages or an option must change."""


class ContextError(PromptError):
    """Prompt and answer have more tokens than the model's context."""


class FolderError(EngineError):
    """The folder does not hold a language model that the engine runs."""


class RunError(FolderError):
    """The graph fails while it runs."""


class CacheError(EngineError):
    """The machine lacks memory for the cache."""
