"""List the modules with logic that have no test file of their own: edgeopt/a/b.py is tested by tests/a/test_b.py.

`ALLOWED` may only fall: a new module comes with its test. Run with ``--list`` to see what is missing.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = 0
"""How many modules may lack a test file."""


def has_logic(path: Path) -> bool:
    """Return whether the module defines a function or a method that does more than declare or hand on a value."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return any(len(_statements(function)) > 1 for function in functions)


def _statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return the body of `function` without its docstring."""
    return [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]


def untested(root: Path) -> list[str]:
    """Return the modules with logic below ``edgeopt`` in `root` that lack a test file, sorted."""
    package = root / "edgeopt"
    modules = [path for path in sorted(package.rglob("*.py")) if not {"_shipped", "__pycache__"} & set(path.parts)]
    return [
        path.relative_to(root).as_posix()
        for path in modules
        if path.name not in {"__init__.py", "__main__.py"} and has_logic(path) and not _test_of(path, root).is_file()
    ]


def _test_of(path: Path, root: Path) -> Path:
    inner = path.relative_to(root / "edgeopt")
    return root / "tests" / inner.parent / f"test_{inner.stem.lstrip('_')}.py"


def main() -> None:
    """Print what is missing and exit with 1 if it is more than allowed."""
    missing = untested(ROOT)
    if "--list" in sys.argv:
        print("\n".join(missing))
    if len(missing) > ALLOWED:
        sys.exit(f"{len(missing)} modules with logic have no test file of their own, {ALLOWED} allowed; see --list")
    if len(missing) < ALLOWED:
        print(f"{len(missing)} modules have no test file of their own: lower ALLOWED in tools/check_mirror.py to that")


if __name__ == "__main__":
    main()
