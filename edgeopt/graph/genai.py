"""``genai_config.json``: what onnxruntime-genai reads beside a decoder (https://onnxruntime.ai/docs/genai/reference/config.html).

The same facts as in ``generation.json``, in the other runtime's words; so any folder that generates text here does so there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeopt.files import write_aside
from edgeopt.graph.generation import Generation

FILE = "genai_config.json"


def write_genai_config(facts: Generation, folder: Path) -> Path:
    """Write ``genai_config.json`` into `folder` and return its path."""
    path = folder / FILE
    with write_aside(path) as aside:
        aside.write_text(json.dumps(genai_config(facts), indent=1) + "\n", encoding="utf-8")
    return path


def genai_config(facts: Generation) -> dict[str, Any]:
    """Return the configuration: a decoder of no particular family, decoding greedily unless told otherwise."""
    inputs = {
        "input_ids": facts.inputs.tokens,
        "attention_mask": facts.inputs.mask,
        "past_key_names": facts.inputs.past_key,
        "past_value_names": facts.inputs.past_value,
    }
    if facts.inputs.positions is not None:
        inputs["position_ids"] = facts.inputs.positions
    outputs = {
        "logits": facts.outputs.logits,
        "present_key_names": facts.outputs.present_key,
        "present_value_names": facts.outputs.present_value,
    }
    first = facts.eos[0] if facts.eos else 0  # (it refuses a number that is no token)
    end = facts.eos if len(facts.eos) > 1 else first
    return {
        "model": {
            "type": "decoder",
            "bos_token_id": facts.bos if facts.bos is not None else first,
            "eos_token_id": end,
            "pad_token_id": facts.pad if facts.pad is not None else first,
            "context_length": facts.context,
            "vocab_size": facts.vocabulary,
            "decoder": {
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "filename": facts.model,
                "head_size": facts.head_size,
                "hidden_size": facts.hidden,
                "num_attention_heads": facts.heads,
                "num_hidden_layers": facts.layers,
                "num_key_value_heads": facts.kv_heads,
                "inputs": inputs,
                "outputs": outputs,
            },
        },
        "search": {
            "do_sample": False,
            "max_length": facts.context,
            "min_length": 0,
            "num_beams": 1,
            "num_return_sequences": 1,
            "past_present_share_buffer": facts.shared_cache,
            "repetition_penalty": 1.0,
            "temperature": 1.0,
            "top_k": 1,
            "top_p": 1.0,
        },
    }
