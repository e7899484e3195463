"""Stop strings in a stream of texts: nothing that may begin one is passed on before it is known not to."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Cuts a stream before the first stop string."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._held = ""
        self.found: str | None = None
        """The stop string that was found."""

    def add(self, piece: str) -> str:
        """Return what can be passed on after `piece`."""
        if not self._texts:
            return piece
        self._held += piece
        places = [(self._held.find(text), text) for text in self._texts if text in self._held]
        if places:
            place, self.found = min(places)
            said, self._held = self._held[:place], ""
            return said
        keep = max(self._beginning(text) for text in self._texts)
        said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return said

    def flush(self) -> str:
        """Return what was held back, at the end of the text."""
        said, self._held = self._held, ""
        return said

    def _beginning(self, text: str) -> int:
        """Return the length of the longest end of the held text that begins `text`."""
        most = min(len(text) - 1, len(self._held))
        return next((size for size in range(most, 0, -1) if self._held.endswith(text[:size])), 0)
