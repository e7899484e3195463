from __future__ import annotations

import sys

import torch
from transformers import BartConfig, BartModel

from edgeopt.export.overflow_guards import guards_for_export

SMALL = {
    "vocab_size": 20,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
}


def test_only_float16_guards_take_hold_and_only_meanwhile():
    model = BartModel(BartConfig(**SMALL))
    source = sys.modules[BartModel.__module__]
    ones = torch.ones(2)
    with guards_for_export(model):
        assert not source.torch.isfinite(ones.half()).all()
        assert source.torch.isfinite(ones).all() and source.torch.isfinite(ones.bfloat16()).all()
        assert source.torch.float16 is torch.float16
    assert source.torch is torch


def test_a_guarded_layer_gives_the_same_and_limits_what_overflows():
    layer = BartModel(BartConfig(**SMALL)).half().eval().encoder.layers[0]
    hidden = torch.randn(1, 3, 8).half()
    expected = layer(hidden, None)
    with guards_for_export(layer):
        assert torch.equal(layer(hidden, None), expected)
        layer.final_layer_norm.bias.data[0] = torch.inf
        assert layer(hidden, None)[..., 0].tolist() == [[64512.0] * 3]


def test_a_module_of_ones_own_is_left_alone():
    with guards_for_export(torch.nn.Linear(1, 1)):
        assert sys.modules[BartModel.__module__].torch is torch
