from __future__ import annotations

import json

import pytest

from edgeopt.graph.genai import genai_config, write_genai_config
from edgeopt.graph.generation import Generation, Inputs

SHAPE = {"layers": 2, "heads": 4, "kv_heads": 2, "head_size": 16, "vocabulary": 100, "context": 64}


@pytest.mark.parametrize(("eos", "told"), [([2], 2), ([2, 5], [2, 5]), ([], 0)])
def test_end_tokens_are_one_or_several(eos, told):
    assert genai_config(Generation(form="portable", eos=eos, **SHAPE))["model"]["eos_token_id"] == told


def test_positions_are_an_input_where_the_graph_has_them(tmp_path):
    facts = Generation(form="portable", inputs=Inputs(positions="position_ids"), **SHAPE)
    told = json.loads(write_genai_config(facts, tmp_path).read_text())
    assert told["model"]["decoder"]["inputs"]["position_ids"] == "position_ids"
    assert told["search"]["past_present_share_buffer"] is False
