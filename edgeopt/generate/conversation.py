"""A conversation: the history of messages, and the engine that continues it."""

from __future__ import annotations

from collections.abc import Iterator

from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.stream import Answer
from edgeopt.generate.faults import engine_errors
from edgeopt.lifetime import answered_interrupt


class Conversation:
    """Messages of the system, the user and the model; what the model said stays in the cache from turn to turn."""

    def __init__(self, engine: Engine, options: Sampling, *, system: str | None = None) -> None:
        self._engine, self._options = engine, options
        self._first = [{"role": "system", "content": system}] if system is not None else []
        self.messages = list(self._first)
        self.answered: Answer | None = None
        with engine_errors():  # a model without a chat template is refused before the user has typed anything
            engine.prompt([*self._first, {"role": "user", "content": "?"}])

    def reset(self) -> None:
        """Forget all but the system's message."""
        self.messages = list(self._first)

    def ask(self, text: str) -> Iterator[str]:
        """Yield the reply to the user's `text` in pieces; both become part of the history, even if the reply is stopped.

        Raises:
            RecipeError: the conversation has outgrown the model's context; the message is not kept.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        said = ""
        with engine_errors():
            pieces = self._engine.stream(self._engine.prompt(asked), self._options)
            try:
                for piece in pieces:
                    if not said:
                        self.messages = asked
                    said += piece
                    yield piece
            finally:
                pieces.close()
                self.answered = self._engine.answered
                if self.messages is asked:
                    self.messages = [*asked, {"role": "assistant", "content": said}]

    def interrupted(self) -> None:
        """Go on after an interrupt that ended a reply."""
        answered_interrupt()
