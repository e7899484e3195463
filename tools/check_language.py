"""Fail where wording stands that must not come back (CONTRIBUTING.md, "Language"): the field has a word for it.

Searched are all tracked text files but the log of experiments; names in code count as well as prose.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_KINDS = {".py", ".md", ".toml", ".html", ".js", ".mjs", ".sh", ".yml"}
_LEFT_OUT = ("docs/log/", "tools/check_language.py", "tests/tools/test_check_language.py", "constraints.txt")

WORDS: Mapping[str, str] = {
    r"\banew\b": "again",
    r"\b(?:fault of ours|our fault)\b": "internal error",
    r"\bh[eo]ld against\b": "compare(d) with",
    r"\bso many\b": "this many, the number of",
    r"\bown operators?\b": "contrib operator (onnxruntime's), or name the domain",
    r"\bwho (?:makes|reads|gives|takes|runs) (?:it|what|a|an|the|them|which)\b": "producer, consumer, provider",
    r"\bone (?:file|scale|line|state|row|entry|node|sample|layer|step|command|task|column|text|graph|class) an? \w": "per",
    r"\b(?:goes|go|went) on where\b": "resume(s)",
    r"\btells? whether\b": "say(s) whether, or: return whether",
    r"\bpictures?\b": "image",
    r"\bover there\b": "on the device, on the remote machine",
    r"\bsaid besides\b": "also reported",
    r"\bnobody here\b": "say what it is instead",
    r"\bfor want of\b": "because of too few, because there is no",
    r"\bhanded in\b": "given, passed",
    r"\b(?:a|of|by) strangers?'?\b": "untrusted, from others",
    r"\bwhole or not at all\b": "atomically",
    r"\bmend(?:s|ed|ing)?\b": "fix, repair",
    r"\b(?:nobody|somebody|everybody|anybody|whoever)\b": "the user, the caller, no consumer, every consumer",
    r"\b(?:give|gives|gave) floats\b": "output(s) floats",
    r"\bwhat (?:it|they) gives?\b": "its output",
    r"\btold of\b": "named, reported",
    r"\b(?:scale|row|column|node|line|file|value) a (?:tensor|channel|row|node|reason|value|sample|token|layer|shape)\b": "per",
}
"""Pattern → what to write instead."""


def main() -> int:
    """Print every place with such a wording; return 1 if there is one."""
    listed = subprocess.run(["git", "ls-files"], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line for name in listed if searched(name) for line in findings(name, (_ROOT / name).read_text(encoding="utf-8"))]
    for line in found:
        print(line)
    return min(1, len(found))


def searched(name: str) -> bool:
    """Return whether the file called `name`, relative to the root, is searched."""
    path = _ROOT / name
    return path.suffix in _KINDS and path.is_file() and not name.startswith(_LEFT_OUT)


def findings(name: str, text: str) -> Iterator[str]:
    """Yield one line for each wording in `text` that must not come back, with what to write instead."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in WORDS.items():
            match = re.search(pattern, line, flags=re.IGNORECASE)
            if match:
                yield f"{name}:{number}: '{match[0]}': write {instead}"


if __name__ == "__main__":
    sys.exit(main())
