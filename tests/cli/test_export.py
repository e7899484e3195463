"""`edgeopt export --dtype`: a float32 checkpoint as float16 or bfloat16, and what is said of it."""

from __future__ import annotations

import sys

import onnx
import pytest

from edgeopt.cli import main

SMALL = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """Return a function that exports a small Llama with further arguments, and returns exit code, stdout and stderr."""
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(LlamaConfig(**SMALL)).save_pretrained(tmp_path / "llama")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeopt", "export", "llama", *arguments, "-o", "out", "-q"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        shown = capsys.readouterr()
        return stopped.value.code, shown.out, shown.err

    return run


@pytest.mark.parametrize(("dtype", "allowed"), [("float16", "1e-02"), ("bfloat16", "8e-02")])
def test_weights_inputs_outputs_and_caches_have_the_type_that_was_asked_for(tmp_path, export, dtype, allowed):
    code, out, err = export("--dtype", dtype)
    assert code == 0, err
    assert f"(allowed: {allowed})" in out
    assert ("verified in float32 arithmetic" in err) == (dtype == "bfloat16")
    model = onnx.load(tmp_path / "out" / "model.onnx")
    assert {entry.key: entry.value for entry in model.metadata_props}["edgeopt.dtype"] == dtype
    wanted = getattr(onnx.TensorProto, dtype.upper())
    whole = {"input_ids", "attention_mask", "position_ids", "logits_positions"}
    values = [value for value in (*model.graph.input, *model.graph.output) if value.name not in whole]
    assert len(values) == 5 and {value.type.tensor_type.elem_type for value in values} == {wanted}
    assert {tensor.data_type for tensor in model.graph.initializer if tensor.name.endswith("weight")} == {wanted}


def test_a_type_that_is_none_is_an_error_that_names_the_three(export):
    code, out, err = export("--dtype", "fp16")
    assert (code, out) == (2, "")
    assert "dtype" in err and "'float32', 'float16' or 'bfloat16'" in err
