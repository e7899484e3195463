"""Rewrites of torch's exporter that compare numbers exactly.

onnxscript, whose rules the exporter runs, takes x + 0 and x · 1 out of a graph, and for 0 takes everything up to 1e-8, for 1
everything within 1e-5. A guard such as ``x / (norm + 1e-12)`` is then gone from the file, and nothing is seen of it until a
norm is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onnxscript import rewriter
from onnxscript.rewriter import _pattern_ir as patterns


@contextmanager
def exact_numbers() -> Iterator[None]:
    """Let the constants in onnxscript's rules match nothing but themselves while the block runs."""
    constants = [
        value
        for rule in rewriter._DEFAULT_REWRITE_RULES
        for node in rule._target_pattern
        for value in node.inputs
        if isinstance(value, patterns.Constant)
    ]
    before = [(constant._rel_tol, constant._abs_tol) for constant in constants]
    for constant in constants:
        constant._rel_tol = constant._abs_tol = 0.0
    try:
        yield
    finally:
        for constant, (relative, absolute) in zip(constants, before, strict=True):
            constant._rel_tol, constant._abs_tol = relative, absolute
