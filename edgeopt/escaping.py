r"""Escaping of untrusted text (names of nodes, files, classes), with one function per output format.

A name may contain anything: ESC sequences that a terminal executes, line ends that start a new line of a log, characters that
XML forbids, commands to a CI service. Characters that are not printable are shown as Python escapes (``\x1b``, ``\n``,
``\u202e``): visible, distinguishable and harmless.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_FIRST = re.compile(r"^(\s*):(?=:)")
"""GitHub obeys "::error::" where a line begins."""
_ANYWHERE = re.compile(r"(?<=#)#(?=\[|vso\[|teamcity\[)")
"""CI services obey "##[error]", "##vso[" and "##teamcity[" anywhere in a line."""


def one_line(text: str) -> str:
    """Return `text` on one line for a terminal or a log: what is not printable, or a command, becomes its escape sequence."""
    return _FIRST.sub(r"\1\\x3a", xml_text(text))


def json_text(values: Any) -> str:
    """Return `values` as indented JSON whose strings hold nothing that a terminal or a CI service would obey.

    Numbers that are not finite, which JSON does not have, become null.
    """
    return safe_json(json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def safe_json(text: str) -> str:
    """Return JSON text that means the same, with escapes for what a terminal or a CI service would obey."""
    text = _ANYWHERE.sub(r"\\u0023", text)
    return "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in text)


def xml_text(text: str) -> str:
    """Return `text` without what XML 1.0 forbids, or a CI service obeys; quoting markup is the XML library's business."""
    return _ANYWHERE.sub(r"\\x23", printable(text))


def markdown(text: str) -> str:
    """Return `text` on one line with the markup of Markdown and HTML escaped."""
    marked = "".join(f"\\{char}" if char in "\\`*_{}[]#|!~" else char for char in printable(text))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: str) -> str:
    """Return `text` as inline code of Markdown, which has no escapes: characters that would end it are replaced."""
    return f"`{printable(text).replace('`', chr(39)).replace('|', '/')}`"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table of plain text."""
    yield "| " + " | ".join(map(markdown, head)) + " |"
    yield "|" + " --- |" * len(head)
    yield from ("| " + " | ".join(map(markdown, row)) + " |" for row in rows)


def annotation(text: str) -> str:
    """Return `text` as the message of a GitHub workflow command; its lines stay lines."""
    lines = (printable(line) for line in text.splitlines())
    return "%0A".join(line.replace("%", "%25") for line in lines)


def annotation_property(text: str) -> str:
    """Return `text` as the value of a property of a GitHub workflow command."""
    return annotation(printable(text)).replace(":", "%3A").replace(",", "%2C")


def shell_word(text: str) -> str:
    """Return `text` as one printable word of a POSIX shell's command line, so that it can be copied."""
    if text.isprintable():
        return shlex.quote(text)
    escapes = (char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char)) for char in text)
    quoted = "".join(f"\\{part}" if part in ("\\", "'") else part for part in escapes)
    return f"$'{quoted}'"


def printable(text: str, *, keep: str = "") -> str:
    """Return `text` with what is not printable as escape sequences, but for the characters `keep`."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
