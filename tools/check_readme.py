"""Fail where the README's help texts differ from what the commands print; with --write, put them right.

The README holds them as:

    <!-- help: edgeopt run -->
    ```
    …
    ```
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_README = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK = re.compile(r"(<!-- help: (edgeopt[ a-z-]*) -->\n```text\n)(.*?)(```\n)", re.DOTALL)


def main() -> int:
    """Compare, or with --write replace; return 1 if something differs or nothing is there to compare."""
    text = _README.read_text(encoding="utf-8")
    commands = [match[2].strip() for match in _BLOCK.finditer(text)]
    if not commands:
        print(f"{_README.name}: no help text to compare")
        return 1
    renewed = _BLOCK.sub(lambda match: f"{match[1]}{help_text(match[2].strip())}{match[4]}", text)
    if "--write" in sys.argv:
        _README.write_text(renewed, encoding="utf-8")
        return 0
    if renewed != text:
        print(f"{_README.name}: help texts differ from what {', '.join(commands)} print; run: make format")
        return 1
    return 0


def help_text(command: str) -> str:
    """Return what ``COMMAND --help`` prints, 100 columns wide."""
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    program = Path(sys.executable).with_name("edgeopt")
    arguments = [str(program), *command.split()[1:], "--help"]
    text = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
