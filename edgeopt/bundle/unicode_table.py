"""What Unicode says of characters, as a table for programs without a Unicode library: what BERT's tokenizer does to each.

Lines, all numbers hexadecimal:  D first last  dropped · S first last  white space · P first last  stands alone (punctuation) ·
C first last  Chinese, stands alone · R code code…  becomes these (without accents, in lower case).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_LAST = 0x10FFFF
_CONTROLS = {"Cc", "Cf", "Co", "Cs"}
_CHINESE = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B81F), (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)  # fmt: skip


def unicode_table(normalizer: Mapping[str, Any]) -> str:
    """Return the table for the options of a tokenizer's BertNormalizer."""
    codes = range(_LAST + 1)
    lines = [*_lines("S", (code for code in codes if chr(code).isspace()))]
    lines += _lines("P", (code for code in codes if _stands_alone(chr(code))))
    if normalizer["clean_text"]:
        lines += _lines("D", (code for code in codes if _is_dropped(chr(code))))
    if normalizer["handle_chinese_chars"]:
        lines += [f"C {first:x} {last:x}" for first, last in _CHINESE]
    for code in codes:
        if 0xD800 <= code < 0xE000:
            continue
        became = _became(chr(code), normalizer)
        if became != chr(code):
            lines.append(" ".join(["R", f"{code:x}", *(f"{ord(part):x}" for part in became)]))
    return "\n".join(lines) + "\n"


def _stands_alone(char: str) -> bool:
    symbol = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return symbol or unicodedata.category(char)[0] == "P"


def _is_dropped(char: str) -> bool:
    return char not in "\t\n\r" and (char == "\ufffd" or unicodedata.category(char) in _CONTROLS)


def _became(char: str, normalizer: Mapping[str, Any]) -> str:
    strip = normalizer["strip_accents"]
    if normalizer["lowercase"] if strip is None else strip:
        char = "".join(part for part in unicodedata.normalize("NFD", char) if unicodedata.category(part) != "Mn")
    return "".join(part.lower() for part in char) if normalizer["lowercase"] else char


def _lines(kind: str, codes: Iterable[int]) -> Iterator[str]:
    """Yield one line for each run of codes."""
    first = last = -2
    for code in [*codes, -1]:
        if code == last + 1 and code >= 0:
            last = code
            continue
        if first >= 0:
            yield f"{kind} {first:x} {last:x}"
        first = last = code
