r"""Text of a stranger's (names of nodes, files, classes) made safe for where it is shown: one function per format.

A name may hold anything: ESC sequences that a terminal obeys, line ends that begin a new line of a log, characters that XML
forbids. What is not printable is shown as Python writes it (``\x1b``, ``\n``, ``\u202e``): it can be seen.
"""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return `text` on one line for a terminal or a log: what is not printable becomes its escape sequence."""
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def _visible(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
