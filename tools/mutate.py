"""Mutation testing: change one operator, number or condition at a time, and list the changes that no test notices.

    python -m tools.mutate edgeopt/verdict/order_statistics.py tests/verdict/test_order_statistics.py

A mutant that survives shows a line whose value no test depends on: write the test, or find that the change makes no difference
(docs/log/mutation.md). Each mutant runs in a process of its own, forked from one that has loaded the libraries;
sources are not changed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}  # fmt: skip
_LIMIT_S = 60


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Yield (line, change, the changed module) for every change of `tree`."""
    for number, node in enumerate(ast.walk(tree)):
        if _can_change(node):
            made = copy.deepcopy(tree)
            target = next(found for place, found in enumerate(ast.walk(made)) if place == number)
            before = ast.unparse(target)
            _change(target)
            yield getattr(node, "lineno", 0), f"{before}  →  {ast.unparse(target)}", made


def _can_change(node: ast.AST) -> bool:
    match node:
        case ast.Compare(ops=[operator]):
            return type(operator) in _COMPARE
        case ast.BinOp(op=operator):
            return type(operator) in _ARITHMETIC
        case ast.BoolOp() | ast.UnaryOp(op=ast.Not() | ast.USub()) | ast.Constant(value=int() | float()) | ast.IfExp():
            return True
        case _:
            return False


def _change(node: ast.AST) -> None:
    match node:
        case ast.Compare(ops=[operator]):
            node.ops = [_COMPARE[type(operator)]()]
        case ast.BinOp(op=operator):
            node.op = _ARITHMETIC[type(operator)]()
        case ast.BoolOp(op=operator):
            node.op = ast.And() if isinstance(operator, ast.Or) else ast.Or()
        case ast.UnaryOp():
            node.op = ast.UAdd()  # -x is x, and not x is x where a condition reads it
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() | float() as value):
            node.value = value + 1
        case ast.IfExp(body=body, orelse=orelse):
            node.body, node.orelse = orelse, body


def survives(module: Path, tree: ast.Module, tests: list[str]) -> bool:
    """Return whether all `tests` pass with `tree` in the place of `module`; one that takes too long counts as found."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(_run(module, tree, tests))
        finally:
            os._exit(1)
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def _run(module: Path, tree: ast.Module, tests: list[str]) -> int:
    """Run the tests with the changed module and return pytest's exit code."""
    import pytest

    name = ".".join(module.with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, module)
    if spec is None:
        return 1
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            exec(compile(ast.fix_missing_locations(tree), str(module), "exec"), made.__dict__)  # noqa: S102
        except Exception:  # noqa: BLE001  (a mutant that cannot be imported is found)
            return 1
        parent, _, last = name.rpartition(".")
        setattr(sys.modules.get(parent) or importlib.import_module(parent), last, made)
        return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--no-cov", *tests]))


def main() -> int:
    """Print the survivors and their share; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--most", type=int, default=0, help="Try at most N changes, drawn at random with seed 0.")
    arguments = parser.parse_args()
    for library in ("numpy", "onnx", "onnx_ir", "onnxruntime", "pydantic"):
        importlib.import_module(library)
    tree = ast.parse(arguments.module.read_text(encoding="utf-8"))
    if not survives(arguments.module, tree, arguments.tests):
        sys.exit("the tests fail without a change")
    found = list(mutants(tree))
    chosen = random.Random(0).sample(found, arguments.most) if 0 < arguments.most < len(found) else found
    alive = [(line, change) for line, change, made in chosen if survives(arguments.module, made, arguments.tests)]
    for line, change in sorted(alive):
        print(f"{arguments.module}:{line}: {change}")
    print(f"{arguments.module}: {len(alive)} of {len(chosen)} changes survive")
    return min(1, len(alive))


if __name__ == "__main__":
    sys.exit(main())
