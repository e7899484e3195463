"""The cases that ONNX itself keeps for its operators, by the operator's name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

Case = tuple[str, ir.Node, list[Any], list[Any]]
_UNSIGNED = {"uint16", "uint32", "uint64"}
"""PyTorch has no arithmetic for these; no tensor of a network that we train has such a type."""


@pytest.fixture(scope="session")
def onnx_cases() -> dict[str, list[Case]]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    found: dict[str, list[Case]] = {}
    for case in collected:
        if case.model is None or len(case.model.graph.node) != 1:
            continue
        given, wanted = case.data_sets[0]
        arrays = [np.asarray(item) for item in (*given, *wanted) if isinstance(item, np.ndarray | np.generic)]
        if len(arrays) != len(given) + len(wanted) or any(
            item.dtype.kind not in "biuf" or item.dtype.name in _UNSIGNED for item in arrays
        ):
            continue
        node = ir.serde.deserialize_model(case.model).graph[0]
        found.setdefault(node.op_type, []).append((case.name, node, list(given), list(wanted)))
    return found


@pytest.fixture(scope="session")
def check_cases(onnx_cases: dict[str, list[Case]]) -> Callable[[str, Callable[..., Any]], int]:
    """Compare an operator with every case that ONNX keeps for it; return how many it computes (the others it refuses)."""

    def check(name: str, operator: Callable[..., Any]) -> int:
        return sum(_agrees(case, operator) for case in onnx_cases[name])

    return check


def _agrees(case: Case, operator: Callable[..., Any]) -> bool:
    name, node, given, wanted = case
    attributes = {key: item.value for key, item in node.attributes.items()}
    if node.op_type == "Split" and len(node.inputs) == 1:
        attributes.setdefault("num_outputs", len(node.outputs))
    arrays: Iterator[Any] = iter(given)
    inputs = [None if value is None else torch.from_numpy(np.array(next(arrays))) for value in node.inputs]
    try:
        made = operator(attributes, *inputs)
    except NotImplementedError:
        return False
    half = any(np.asarray(item).dtype == np.float16 for item in given)
    for got, expected in zip(made if isinstance(made, tuple) else (made,), wanted, strict=False):
        assert got.shape == expected.shape, name
        np.testing.assert_allclose(
            got.numpy().astype(np.float64), np.asarray(expected, np.float64), 1e-2 if half else 1e-3, 1e-5, err_msg=name
        )
    return True
