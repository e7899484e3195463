from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.quantize.affine import Affine
from edgeopt.quantize.training.grids import Bias, Grid


@pytest.mark.parametrize(("dtype", "symmetric"), [("uint8", False), ("int8", False), ("int8", True), ("uint16", False)])
def test_values_are_rounded_as_the_numpy_arithmetic_rounds_them(dtype: str, symmetric: bool) -> None:
    affine = Affine.of_range(-1.3, 2.9, dtype, symmetric=symmetric)  # type: ignore[arg-type]
    x = np.random.default_rng(0).standard_normal((64, 33)).astype(np.float32) * 2
    made = Grid(affine)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_array_equal(made, affine.fake_quantize(x))


def test_channels_have_scales_of_their_own_and_seven_bits_end_at_64() -> None:
    weight = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32) * np.array([[1], [2], [4], [8]], np.float32)
    affine = Affine.of_values(weight, "int8", axis=0, symmetric=True, reduced=True)
    grid = Grid(affine, symmetric=True, reduced=True)
    made = grid(torch.from_numpy(weight * 3)).detach().numpy()
    steps = np.abs(made / affine.scale[:, None])
    np.testing.assert_allclose(steps.max(axis=1), 64, rtol=1e-6)


def test_gradients_are_those_of_lsq() -> None:
    affine = Affine(np.float32(0.5), np.uint8(2), "uint8")
    x = torch.tensor([[-3.0, -0.6, 0.2, 1.4, 200.0]], requires_grad=True)
    grid = Grid(affine)
    upstream = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    grid(x).backward(upstream)
    v = np.array([-6.0, -1.2, 0.4, 2.8, 400.0])
    n, p = -2, 253
    slope = np.where(v < n, n, np.where(v > p, p, np.round(v) - v))
    factor = 1 / np.sqrt(5 * p)
    assert x.grad is not None and grid.ratio.grad is not None
    assert x.grad.tolist() == [[0.0, 2.0, 3.0, 4.0, 0.0]]
    expected = float((slope * upstream.numpy()).sum() * factor) * 0.5  # the scale is 0.5 times the ratio
    np.testing.assert_allclose(float(grid.ratio.grad), expected, rtol=1e-4)


def test_scale_cannot_fall_below_its_floor() -> None:
    grid = Grid(Affine(np.float32(0.5), np.uint8(0), "uint8"))
    with torch.no_grad():
        grid.ratio.fill_(-3.0)
    assert float(grid.scale.detach()) == pytest.approx(0.5 * 0.05)


def test_bias_lies_on_the_grid_of_the_sums_and_passes_gradients() -> None:
    given, weight = (
        Grid(Affine(np.float32(0.1), np.uint8(3), "uint8")),
        Grid(Affine(np.array([0.2, 0.4], np.float32), np.zeros(2, np.int8), "int8", 0)),
    )
    bias = Bias(np.array([0.031, -0.15]), [given, weight])
    made = bias()
    np.testing.assert_allclose(made.detach().numpy(), [0.04, -0.16], rtol=1e-5)
    made.sum().backward()
    assert bias.values.grad is not None and bias.values.grad.tolist() == [1.0, 1.0]
    assert given.ratio.grad is None
