"""What a model's folder says, without loading the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeopt.data.model_folder import FolderFacts, facts_of, vocabulary_of
from edgeopt.errors import ModelError


def test_names_task_and_inputs(tmp_path: Path) -> None:
    assert facts_of(tmp_path) == FolderFacts()
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "b", "0": "a", "10": "k"}}))
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "ViT"}')
    assert facts_of(tmp_path) == FolderFacts(("a", "b", "k"), None, ("pixel_values",))
    (tmp_path / "bundle.json").write_text(json.dumps({"labels": ["x"], "task": "image-classification"}))
    assert facts_of(tmp_path) == FolderFacts(("x",), "image-classification", ("pixel_values",))


@pytest.mark.parametrize(("values", "name"), [({"feature_size": 80}, "input_features"), ({"feature_size": 1}, "input_values")])
def test_recordings_feed_samples_or_spectrograms(tmp_path: Path, values: dict[str, int], name: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"feature_extractor_type": "Some", **values}))
    assert facts_of(tmp_path).inputs == (name,)


def test_texts_feed_what_the_tokenizer_says(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"model_input_names": ["input_ids", "attention_mask"]}')
    assert facts_of(tmp_path).inputs == ()
    (tmp_path / "tokenizer.json").write_text("{}")
    assert facts_of(tmp_path).inputs == ("input_ids", "attention_mask")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json"):
        facts_of(tmp_path)


@pytest.mark.parametrize("key", ["²", "9" * 5000, "-1", "a"])
def test_a_number_that_is_none_names_no_class(tmp_path: Path, key: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {key: "b", "0": "a"}}))
    assert facts_of(tmp_path).names == ("a",)


def test_a_size_of_a_wrong_type_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"feature_extractor_type": "Some", "feature_size": [80]}')
    assert facts_of(tmp_path).inputs == ("input_features",)


def test_the_vocabulary_is_by_number(tmp_path: Path) -> None:
    assert vocabulary_of(tmp_path) == ()
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 2, "<pad>": 0}))
    assert vocabulary_of(tmp_path) == ("<pad>", "", "a")
    (tmp_path / "vocab.json").write_text(json.dumps({"de": {"a": 2}}))
    assert vocabulary_of(tmp_path) == ()
    (tmp_path / "vocab.json").unlink()
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"b": 1, "a": 0}}}))
    assert vocabulary_of(tmp_path) == ("a", "b")
