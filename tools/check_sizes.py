"""Fail where a file, a function or a parameter list has outgrown the house style (CONTRIBUTING.md, "Sizes")."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 500
ALONE = {"deploy/runner/verify.py": 720}
"""Programs that travel to a device alone, so that they cannot be two files, and the lines that they may have."""
FUNCTION_LINES = 75
PARAMETERS = 6
_FOLDERS = ("edgeopt", "exporters", "deploy", "calibration_data", "tools", "tests", "benchmarks")
_ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Print every place that is too large; return how many there are, at most 1."""
    found = [line for folder in _FOLDERS for path in sorted((_ROOT / folder).rglob("*.py")) for line in oversize(path)]
    for line in found:
        print(line)
    return min(1, len(found))


def oversize(path: Path) -> Iterator[str]:
    """Yield one line for each thing in the file at `path` that is too large."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(_ROOT)
    lines = text.count("\n")
    allowed = ALONE.get(name.as_posix(), FILE_LINES)
    if lines > allowed:
        yield f"{name}: {lines} lines, {allowed} are allowed"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES:
            yield f"{name}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_LINES} are allowed"
        parameters = [item.arg for item in [*node.args.args, *node.args.kwonlyargs] if item.arg not in ("self", "cls")]
        is_command = path.parent.name == "cli"  # typer makes an option of each parameter
        is_given = "noqa: PLR0917" in text.splitlines()[node.lineno - 1]  # another library calls it and dictates its signature
        if len(parameters) > PARAMETERS and not is_command and not is_given:
            yield f"{name}:{node.lineno}: {node.name} has {len(parameters)} parameters, {PARAMETERS} are allowed"


if __name__ == "__main__":
    sys.exit(main())
