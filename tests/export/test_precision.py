from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export.precision import cast, float_type, weights_in


class Masked(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.tied = self.linear
        self.register_buffer("mask", torch.tensor([0.0, torch.finfo(torch.float32).min, -torch.inf, 0.0]))
        self.register_buffer("steps", torch.arange(4))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_are_of_the_type_meanwhile_and_the_same_memory_afterwards(dtype):
    module = Masked()
    wanted = getattr(torch, dtype)
    before = {name: (tensor, tensor.data_ptr(), tensor.clone()) for name, tensor in module.state_dict().items()}
    with weights_in(module, dtype):
        assert {weight.dtype for weight in module.parameters()} == {wanted}
        assert module.steps.dtype == torch.int64
        assert module.mask.tolist() == [0.0, torch.finfo(wanted).min, -torch.inf, 0.0]
        assert module.tied.weight is module.linear.weight
        assert float_type(module) == dtype
    for name, tensor in module.state_dict().items():
        assert (tensor.data_ptr(), tensor.dtype) == (before[name][1], before[name][0].dtype)
        assert torch.equal(tensor, before[name][2])


def test_a_weight_beyond_the_range_is_an_error_that_names_it_and_changes_nothing():
    module = Masked()
    module.linear.bias.data[2] = 1e5
    said = r"the weight linear\.bias contains 1e\+05, beyond float16's largest number 65504; export as bfloat16 or float32"
    with pytest.raises(ModelError, match=said), weights_in(module, "float16"):
        pass
    assert module.linear.weight.dtype == module.linear.bias.dtype == torch.float32
    with weights_in(module, "bfloat16"):
        assert module.linear.bias[2] == torch.tensor(1e5, dtype=torch.bfloat16)


def test_what_transformers_keeps_in_float32_stays_and_so_do_rotary_frequencies():
    from transformers import LlamaConfig, LlamaModel, T5Config, T5EncoderModel

    small = {"vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    encoder = T5EncoderModel(T5Config(**small))
    with weights_in(encoder, "float16"):
        kinds = {name: weight.dtype for name, weight in encoder.named_parameters()}
        assert {name for name, kind in kinds.items() if kind == torch.float32} == {
            "encoder.block.0.layer.1.DenseReluDense.wo.weight"
        }
        assert float_type(encoder) == "float16"
    with weights_in(encoder, "bfloat16"):
        assert {weight.dtype for weight in encoder.parameters()} == {torch.bfloat16}
    small = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    decoder = LlamaModel(LlamaConfig(**small))
    with weights_in(decoder, "float16"):
        assert decoder.rotary_emb.inv_freq.dtype == torch.float32 and decoder.norm.weight.dtype == torch.float16


def test_floating_inputs_become_the_type_and_numbers_beyond_it_its_extremes():
    batch = {"x": np.array([0.1, -3.4e38, np.inf, 7e4], np.float32), "ids": np.array([1, 2])}
    found = cast(batch, "float16")
    assert found["x"].dtype == np.float16 and found["x"].tolist() == [np.float16(0.1), -65504, np.inf, 65504]
    assert found["ids"] is batch["ids"]
    assert cast(batch, "bfloat16")["x"].astype(np.float32)[0] == np.float32(0.10009765625)


def test_views_recurrent_layers_and_what_training_needs_come_through():
    recurrent = torch.nn.LSTM(3, 4)
    packed = torch.arange(24, dtype=torch.float32)
    recurrent.register_buffer("scale", packed[:3])
    with weights_in(recurrent, "bfloat16"):
        out, _ = recurrent(torch.ones(2, 1, 3, dtype=torch.bfloat16) * recurrent.scale)
        assert out.dtype == torch.bfloat16
        assert recurrent.scale._base is None
    assert recurrent(torch.ones(2, 1, 3))[0].dtype == torch.float32
    assert all(weight.requires_grad for weight in recurrent.parameters()) and recurrent.scale._base is packed
