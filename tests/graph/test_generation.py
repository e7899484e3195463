from __future__ import annotations

import json

import pytest

from edgeopt.errors import ModelError
from edgeopt.graph.generation import Generation

SHAPE = {"layers": 2, "heads": 4, "kv_heads": 2, "head_size": 16, "vocabulary": 100, "context": 64}


def test_what_is_written_is_read_back_from_the_folder_or_beside_the_model(tmp_path):
    facts = Generation(form="decoder-cpu", shared_cache=True, eos=[2, 5], **SHAPE)
    facts.write(tmp_path)
    assert Generation.beside(tmp_path) == facts
    assert Generation.beside(tmp_path / "model.onnx") == facts


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "missing"), ("{", "not JSON"), ('{"form": "portable"}', "'layers' is missing"), ("[]", "valid")],
)
def test_a_file_that_is_missing_or_damaged_says_what_to_do(tmp_path, content, said):
    if content is not None:
        (tmp_path / "generation.json").write_text(content)
    with pytest.raises(ModelError, match=said) as caught:
        Generation.beside(tmp_path)
    assert "again" in str(caught.value) or "with this version" in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"layers": 0}, {"context": -1}, *({"inputs": {"past_key": name}} for name in ("past", "%d%d", "%9d", "%s%d"))]
)
def test_numbers_and_patterns_that_no_decoder_has_are_refused(tmp_path, changes):
    whole = {"form": "portable", "layers": 1, "heads": 2, "kv_heads": 2, "head_size": 4, "vocabulary": 9, "context": 8}
    (tmp_path / "generation.json").write_text(json.dumps({**whole, **changes}))
    with pytest.raises(ModelError, match=r"key '(layers|context|inputs\.past_key)'.*export or quantize the decoder again"):
        Generation.beside(tmp_path)
