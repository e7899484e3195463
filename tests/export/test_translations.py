from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from edgeopt.errors import ModelError
from edgeopt.export import ExportConfig, export

MASKS = {
    "keys of each sample": ((2, 1, 1, 5), True),
    "keys of all queries": ((1, 5), True),
    "queries": ((2, 1, 5, 1), True),
    "whole": ((2, 1, 5, 5), True),
    "added to keys": ((2, 1, 1, 5), False),
}


class Masked(torch.nn.Module):
    def forward(self, x, mask):
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        return scaled_dot_product_attention(heads, heads * 2, heads - 1, attn_mask=mask)


def batch(shape, *, boolean):
    rng = np.random.default_rng(0)
    seen = rng.random(shape) < 0.7
    seen[..., 0] = True
    mask = seen if boolean else np.where(seen, 0, -np.inf).astype(np.float32)
    return {"x": rng.normal(size=(2, 5, 8)).astype(np.float32), "mask": mask}


@pytest.mark.parametrize("attention", ["fused", "decomposed"])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_that_torch_broadcasts_is_exported(tmp_path, target, name, attention):
    shape, boolean = MASKS[name]
    config = ExportConfig(attention=attention, axes={"x": {0: "batch"}, "mask": {0: "batch"} if shape[0] == 2 else {}})
    config = config.model_copy(update={"shapes": {} if shape[0] == 2 else {"mask": list(shape)}})
    result = export(Masked(), [batch(shape, boolean=boolean)], target=target, output=tmp_path, config=config)
    assert result.parity.relative_error < 1e-5
    assert result.op_counts.get("Attention", 0) == (attention == "fused")
    assert result.op_counts.get("Softmax", 0) == (attention == "decomposed")


class Attending(torch.nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, x):
        return self.run(x)


def grouped(x):
    keys = x.unflatten(-1, (2, 4)).transpose(1, 2)
    return scaled_dot_product_attention(torch.cat([keys, keys + 1, keys * 2], 1), keys, keys, enable_gqa=True)


RUNS = {
    "causal": lambda x: scaled_dot_product_attention(*[x.unflatten(-1, (2, 4)).transpose(1, 2)] * 3, is_causal=True),
    "grouped": grouped,
    "three axes": lambda x: scaled_dot_product_attention(x, x, x, scale=0.2),
    "fewer queries": lambda x: scaled_dot_product_attention(x[:, None, :2], x[:, None], x[:, None], is_causal=True),
}


@pytest.mark.parametrize("attention", ["fused", "decomposed"])
@pytest.mark.parametrize("name", RUNS)
def test_attention_of_every_kind_is_exported(tmp_path, target, name, attention):
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(2, steps, 8)).astype(np.float32)} for steps in (4, 6)]
    config = ExportConfig(attention=attention)
    result = export(Attending(RUNS[name]), samples, target=target, output=tmp_path, config=config)
    assert result.parity.relative_error < 1e-5
    if attention == "decomposed":
        assert "Attention" not in result.op_counts


@pytest.mark.parametrize("attention", ["fused", "decomposed"])
def test_a_query_that_sees_no_key_gets_what_torch_gives_it(tmp_path, target, attention):
    blind = batch((2, 1, 5, 5), boolean=True)
    blind["mask"][1, 0, 2] = False
    result = export(Masked(), [blind], target=target, output=tmp_path, config=ExportConfig(attention=attention))
    assert result.parity.relative_error < 1e-5


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2)

    def forward(self, x, padding):
        return self.encoder(x, src_key_padding_mask=padding)


@pytest.mark.parametrize("options", [{}, {"opset": 20}, {"attention": "decomposed"}], ids=str)
def test_torchs_encoder_takes_its_padding_mask(tmp_path, target, options):
    rng = np.random.default_rng(0)
    samples = [
        {"x": rng.normal(size=(1, 7, 16)).astype(np.float32), "padding": np.arange(7)[None] >= seen} for seen in (7, 5, 3, 1)
    ]
    result = export(Encoder(), samples, target=target, output=tmp_path, config=ExportConfig(**options))
    assert result.parity.relative_error < 1e-5
    assert result.op_counts.get("Attention", 0) == (0 if options else 2)
    assert any("0 at positions that the mask hides" in warning for warning in result.warnings)
    assert torch.backends.mha.get_fastpath_enabled()


MISSING = {
    "distances": lambda x: torch.cdist(x, x + 1),
    "distances, p of 1": lambda x: torch.cdist(x, x + 1, p=1),
    "distances, p of 3": lambda x: torch.cdist(x, x + 1, p=3),
    "distances, largest": lambda x: torch.cdist(x, x + 1, p=float("inf")),
    "medians of a dynamic axis": lambda x: x.median(1),
    "medians, axis kept": lambda x: x[..., :7].median(-1, keepdim=True),
    "randomized slopes": lambda x: torch.nn.functional.rrelu(x, 0.1, 0.3),
}


@pytest.mark.parametrize("name", MISSING)
def test_operators_that_torchs_exporter_lacks_are_exported(tmp_path, target, name):
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(2, steps, 8)).astype(np.float32)} for steps in (4, 7)]
    result = export(Attending(MISSING[name]), samples, target=target, output=tmp_path)
    assert result.parity.relative_error < 1e-5


def test_an_operator_without_onnx_form_is_named_with_its_line_and_a_way_out(tmp_path, target):
    samples = [{"x": np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)}]
    module = Attending(lambda x: torch.linalg.inv(x[:, :, :4]))
    line = r"\(.*test_translations\.py:\d+: return self\.run\(x\)\)"
    with pytest.raises(ModelError, match=rf"operator aten\.linalg_inv_ex has no ONNX form {line}; write it"):
        export(module, samples, target=target, output=tmp_path)


class Decoding(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = torch.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        self.decoder = torch.nn.TransformerDecoder(layer, 1)

    def forward(self, x, memory):
        return self.decoder(x, memory, tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1]))


def test_torchs_decoder_takes_a_causal_mask_of_any_length(tmp_path, target):
    rng = np.random.default_rng(0)
    samples = [
        {"x": rng.normal(size=(2, steps, 8)).astype(np.float32), "memory": rng.normal(size=(2, 3, 8)).astype(np.float32)}
        for steps in (4, 6)
    ]
    result = export(Decoding(), samples, target=target, output=tmp_path)
    assert result.inputs[0].shape == ("batch", "x_axis1", 8) and result.parity.relative_error < 1e-5
