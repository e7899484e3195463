"""The bound against brute force: products of u8 and s8 summed in pairs, saturated to 16 bits."""

import numpy as np
import onnx
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme, TensorPlan
from edgeopt.quantize.plan.saturation import reduce_where_saturating

SCHEME = Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True)


def reduced(weight: np.ndarray, highs: dict[str, np.ndarray]) -> bool:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[m, 4] x) => (float[m, 2] y) { y = MatMul (x, w) }'
    )
    model.graph.node[0].name = "m"
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight.astype(np.float32), "w"))
    node = NodePlan("m", "MatMul", "int8", "float", Cause.WEIGHTS)
    plan = Plan("t", SCHEME, (node,), (TensorPlan("x", "uint8", -1.0, 1.0, "min-max"),), ())
    return reduce_where_saturating(as_ir(model), plan, highs).nodes[0].reduce_range


def saturates(weight: np.ndarray, highs: np.ndarray) -> bool:
    levels = np.round(weight / np.abs(weight).max(axis=0) * 127)
    top = np.clip(np.round((highs + 1) / (2 / 255)), 0, 255)
    worst = [
        max(sum(max(sign * levels[k + d, n], 0) * top[k + d] for d in (0, 1)) for sign in (1, -1))
        for k in range(3)
        for n in range(weight.shape[1])
    ]
    return max(worst) > 32767


@pytest.mark.parametrize("seed", range(40))
def test_exactly_the_layers_whose_pairs_can_overflow(seed):
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((4, 2)) ** 3
    highs = generator.uniform(-1, 1, 4)
    assert reduced(weight, {"x": highs}) == saturates(weight, highs)


def test_without_extremes_the_worst_is_assumed_and_lonely_weights_are_safe():
    assert reduced(np.array([[1, 1], [1, 0], [0, 0], [0, 1.0]]), {})
    assert not reduced(np.array([[1, 1], [0, 0], [1, 0], [0, 1.0]]), {})
