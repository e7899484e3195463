from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export import export
from edgeopt.export.inference import WithoutDropout

SAMPLES = [{"x": np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)}]


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x):
        return torch.nn.functional.dropout(self.linear(x), 0.5)


def test_a_dropout_that_is_always_on_is_left_out_and_said(tmp_path, target):
    result = export(Dropping(), SAMPLES, target=target, output=tmp_path)
    assert set(result.op_counts) == {"Gemm"}
    assert result.parity.relative_error < 1e-5
    assert result.warnings == ("a dropout with training=True is left out; pass training=self.training",)


def test_a_dropout_that_follows_the_mode_is_not_mentioned(tmp_path, target):
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5))
    assert export(net, [{"input": SAMPLES[0]["x"]}], target=target, output=tmp_path).warnings == ()


@pytest.mark.parametrize(
    "drop",
    [
        lambda x: torch.nn.functional.dropout(x, 0.9),
        lambda x: torch.nn.functional.alpha_dropout(x, 0.9, training=True),
        lambda x: torch.dropout(x, 0.9, True),
        lambda x: torch.nn.functional.dropout2d(x[None], 0.9)[0],
        torch.nn.Dropout(0.9),
    ],
)
def test_every_dropout_returns_its_input(drop):
    x = torch.randn(4, 6, 5)
    with WithoutDropout() as mode:
        assert torch.equal(drop(x), x)
    assert mode.seen


def test_an_attention_with_dropout_attends_without(tmp_path, target):
    class Attending(torch.nn.Module):
        def forward(self, x):
            heads = x[:, None, :, None]
            return torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.3)

    result = export(Attending(), SAMPLES, target=target, output=tmp_path)
    assert result.parity.relative_error < 1e-5 and "dropout" in result.warnings[0]


def test_fake_quantizers_are_explained_as_what_they_are(tmp_path, target):
    from torch.ao.quantization import FakeQuantize

    net = torch.nn.Sequential(torch.nn.Linear(8, 8), FakeQuantize())
    with pytest.raises(ModelError, match=r"module '1' is a FakeQuantize, .* export the float model"):
        export(net, [{"input": SAMPLES[0]["x"]}], target=target, output=tmp_path)


def test_weights_without_a_shape_are_refused(tmp_path, target):
    with pytest.raises(ModelError, match="the module '0' is a LazyLinear whose weights have no shape yet; run it once"):
        export(torch.nn.Sequential(torch.nn.LazyLinear(4)), [{"input": SAMPLES[0]["x"]}], target=target, output=tmp_path)


def test_random_numbers_are_refused_with_their_line(tmp_path, target):
    class Drawing(torch.nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    with pytest.raises(
        ModelError, match=r"draws random numbers \(aten\.randn_like.*test_inference\.py:\d+: .*pass them as an input"
    ):
        export(Drawing(), SAMPLES, target=target, output=tmp_path)


def test_torchscript_is_refused_with_what_to_give(tmp_path, target):
    traced = torch.jit.trace(torch.nn.Linear(8, 8).eval(), torch.randn(2, 8))
    for module in (traced, torch.nn.Sequential(traced)):
        with pytest.raises(ModelError, match=r"is TorchScript, .* give the Python module"):
            export(module, [{"input": SAMPLES[0]["x"]}], target=target, output=tmp_path)
