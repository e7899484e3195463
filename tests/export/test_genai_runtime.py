"""onnxruntime-genai decodes from our folder the tokens of PyTorch; it has an environment of its own (EDGEOPT_GENAI)."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeopt.export import ExportConfig, export
from edgeopt.export.greedy_check import decode_without_cache
from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family
from edgeopt.targets.target import load_target

_PROGRAM = """
import json, sys
import onnxruntime_genai as og
model = og.Model(sys.argv[1])
params = og.GeneratorParams(model)
prompt = json.loads(sys.argv[2])
params.set_search_options(max_length=len(prompt) + 16, min_length=len(prompt) + 16, do_sample=False)
generator = og.Generator(model, params)
generator.append_tokens(prompt)
for _ in range(16):
    generator.generate_next_token()
print(json.dumps([int(token) for token in generator.get_sequence(0)][len(prompt):]))
"""


@pytest.mark.parametrize("form", ["decoder-cpu", "portable"])
@pytest.mark.parametrize("name", ["llama", "opt"])
def test_genai_decodes_the_tokens_of_pytorch(tmp_path, name, form):
    python = os.environ.get("EDGEOPT_GENAI", "")
    if not Path(python).is_file():
        pytest.skip("EDGEOPT_GENAI names no interpreter with onnxruntime-genai")
    family = load_family(name)
    width = {"hidden_size": 64} | ({"word_embed_proj_dim": 64} if name == "opt" else {})
    model = tiny_model(replace(family, tiny={**family.tiny, **width}), "text-generation")
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = None
    config = ExportConfig(task="text-generation", context=64, parity_samples=1, decoder=form)
    export(model, None, target=load_target("x86-vnni"), output=tmp_path, config=config)
    prompt = [7, 11, 13, 17]
    found = subprocess.run(
        [python, "-c", _PROGRAM, str(tmp_path), json.dumps(prompt)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-500:]
    expected = decode_without_cache(model, np.array([prompt]), steps=16)[0].tolist()
    assert json.loads(found.stdout.strip().splitlines()[-1]) == expected
