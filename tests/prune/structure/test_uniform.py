"""What stays uniform fits into transformers' own configuration."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import transformers

from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.parts import Kind
from edgeopt.prune.structure.uniform import uniform_config
from edgeopt.prune.surgery import Choice, operate, outputs_of
from tests.prune.tiny_models import tiny


def test_equal_widths_and_heads_load_with_from_pretrained(tmp_path: Path) -> None:
    model, batch, _ = tiny("llama")
    whole = copy.deepcopy(model.config)
    counts = {Kind.HEADS: 1, Kind.NEURONS: 48}
    parts = anatomy_of(model).parts
    shape = operate(model, [Choice(part, tuple(range(counts[part.kind]))) for part in parts], batch)
    config = uniform_config(model, whole, shape)
    assert config is not None and (config.intermediate_size, config.num_key_value_heads) == (48, 1)
    assert config.num_attention_heads == 2
    model.config = config
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(outputs_of(again, batch)[0], outputs_of(model, batch)[0])


def test_different_widths_do_not() -> None:
    model, batch, _ = tiny("bert")
    whole, parts = copy.deepcopy(model.config), anatomy_of(model).parts
    shape = operate(model, [Choice(part, tuple(range(part.units - part.place))) for part in parts], batch)
    assert uniform_config(model, whole, shape) is None
