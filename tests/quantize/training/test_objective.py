from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from edgeopt.quantize.output_parts import Part
from edgeopt.quantize.training.objective import loss, relative_error, residual_sums

_NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 4, 8] x) => (float[n, 4, 8] y, int64[n, 4] best) <float[1] one = {1}> {
    a = Tanh (x)
    shifted = Add (a, one)
    r = Add (a, x)
    y = Add (r, shifted)
    best = ArgMax <axis = -1, keepdims = 0> (y)
}
"""


def test_residual_sums_are_those_of_two_computed_tensors() -> None:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(_NET)))
    assert residual_sums(model) == ["r"]


def test_relative_error_is_the_noise_of_the_sqnr() -> None:
    wanted, made = torch.tensor([3.0, 4.0, float("-inf")]), torch.tensor([3.0, 4.5, 7.0])
    assert float(relative_error(made, wanted)) == pytest.approx(0.25 / 25)


def test_divergence_of_logits_is_that_of_their_softmax() -> None:
    generator = np.random.default_rng(0)
    wanted, made = (torch.from_numpy(generator.standard_normal((5, 3)).astype(np.float32)) for _ in range(2))
    p, q = torch.softmax(wanted, -1).numpy(), torch.softmax(made, -1).numpy()
    parts = loss({"y": made}, {"y": wanted}, [Part("y")], 0.0)
    assert float(parts["KL"]) == pytest.approx(float((p * np.log(p / q)).sum(axis=1).mean()), rel=1e-4)
    assert set(parts) == {"outputs", "KL"}


def test_inner_tensors_count_with_their_weight() -> None:
    ones = torch.ones(2, 3, 4)
    parts = loss({"y": ones, "r": 2 * ones}, {"y": ones, "r": ones}, [Part("y")], 0.5)
    assert float(parts["outputs"]) == 0.0 and float(parts["inner"]) == pytest.approx(0.5)


def test_scores_beside_boxes_count_by_themselves() -> None:
    """All scores become 0: of the whole output that is nearly nothing, of their part it is everything."""
    wanted = torch.tensor([[300.0, 400.0, 0.6, 0.8]])
    made = wanted * torch.tensor([1.0, 1.0, 0.0, 0.0])
    parts = [Part("y", 1, (0, 1)), Part("y", 1, (2, 3))]
    terms = loss({"y": made}, {"y": wanted}, parts, 0.0)
    assert set(terms) == {"outputs"}  # pixels are no logits
    assert float(terms["outputs"]) == pytest.approx(0.5)
    assert float(relative_error(made, wanted)) < 1e-5
