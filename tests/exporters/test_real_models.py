"""The main families from real weights on real samples; everything else runs from tiny random ones."""

from __future__ import annotations

import pytest

from benchmarks.export.real_weights import MODELS
from edgeopt.export import ExportConfig, export
from edgeopt.targets.target import load_target

OPERATORS = {
    "sst2_teacher": {"Attention": 6, "LayerNormalization": 13},
    "all_minilm": {"Attention": 6, "LayerNormalization": 13},
    "mobilenet_v2": {"Conv": 52},
}
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 8e-2}
CASES = [
    *((name, "float32") for name in MODELS),
    ("sst2_teacher", "float16"),
    ("sst2_teacher", "bfloat16"),
    ("mobilenet_v2", "float16"),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_real_model_agrees_on_real_samples(tmp_path, data_root, name, dtype):
    model = MODELS[name](data_root)
    if model is None:
        pytest.skip(f"the weights or samples of {name} are not at {data_root} (set EDGEOPT_DATA)")
    config = ExportConfig(source_folder=model.folder, task=model.task, dtype=dtype)
    result = export(model.module, model.samples, target=load_target("x86-vnni"), output=tmp_path, config=config)
    assert result.task == model.task and result.parity.relative_error < TOLERANCES[dtype]
    assert {op: result.op_counts[op] for op in OPERATORS[name]} == OPERATORS[name]
    assert "BatchNormalization" not in result.op_counts
    assert (tmp_path / "config.json").is_file()
    assert (tmp_path / "tokenizer.json").is_file() or (tmp_path / "preprocessor_config.json").is_file()
