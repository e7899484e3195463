"""What Unicode says of characters, as a table for programs without a Unicode library.

Lines, all numbers hexadecimal. For BERT's tokenizer what it does to each character:

    D first last  dropped                         S first last  white space
    P first last  stands alone (punctuation)      C first last  Chinese, stands alone
    R code code…  becomes these (without accents, in lower case)

For any other, the last four where a normalizer composes or decomposes:

    G first last category                         L code code…  in lower case
    N code code…  decomposed                      K code code…  decomposed by compatibility
    O code order  combining class                 M first second code  composed
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from edgeopt.bundle.native_tokenizer import steps_of
from edgeopt.device_code import inference

_LAST = 0x10FFFF
_CONTROLS = {"Cc", "Cf", "Co", "Cs"}
_CHINESE = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B81F), (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)  # fmt: skip
_FORMS = {"NFC", "NFD", "NFKC", "NFKD", "BertNormalizer"}


def unicode_table(settings: Mapping[str, Any]) -> str:
    """Return the table for a tokenizer.json."""
    if inference("text").is_wordpiece(settings):
        return _bert(settings["normalizer"])
    return _general(forms=any(step["type"] in _FORMS for step in steps_of(settings.get("normalizer"))))


@cache
def _general(*, forms: bool) -> str:
    """Return categories and lower case of all characters, where `forms` says so with what composes and decomposes them."""
    lines, chars = [], []
    every = (chr(code) for code in range(_LAST + 1) if not 0xD800 <= code < 0xE000)
    for category, group in groupby(every, unicodedata.category):
        if category != "Cn":
            run = list(group)
            lines.append(f"G {ord(run[0]):x} {ord(run[-1]):x} {category}")
            chars += [] if category == "Co" else run  # (characters for private use have no properties)
    lines += [_change("L", char, char.lower()) for char in chars if char.lower() != char]
    if forms:
        lines += _forms(chars)
    return "\n".join(lines) + "\n"


def _forms(chars: Iterable[str]) -> Iterator[str]:
    """Yield how characters decompose and compose (Hangul excepted, which does by arithmetic)."""
    for char in chars:
        order, canonical, compatible = (
            unicodedata.combining(char),
            unicodedata.normalize("NFD", char),
            unicodedata.normalize("NFKD", char),
        )
        if order:
            yield f"O {ord(char):x} {order:x}"
        if "가" <= char <= "힣":
            continue
        if canonical != char:
            yield _change("N", char, canonical)
        if compatible != canonical:
            yield _change("K", char, compatible)
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<") and unicodedata.normalize("NFC", char) == char:
            yield " ".join(["M", *(f"{code:x}" for code in (*(int(part, 16) for part in parts), ord(char)))])


def _change(kind: str, char: str, became: str) -> str:
    return " ".join([kind, f"{ord(char):x}", *(f"{ord(part):x}" for part in became)])


def _bert(normalizer: Mapping[str, Any]) -> str:
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
            lines.append(_change("R", chr(code), became))
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
