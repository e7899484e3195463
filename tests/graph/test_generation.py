from __future__ import annotations

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
