"""Models of several kinds side by side: metric, interval, pairs; without labels agreement and output error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError, RecipeError
from edgeopt.evaluate.stage import EvaluateConfig, evaluate
from edgeopt.prune.vocabulary.tokenizer import rewritten
from tests.stages.conftest import write_linear

ROWS = np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 10]


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    swapped = np.eye(4)[[1, 0, 2, 3]]  # wrong for classes 0 and 1
    return [
        write_linear(tmp_path / name / "model.onnx", weights) for name, weights in (("good", np.eye(4)), ("worse", swapped))
    ]


def test_onnx_files_are_compared_with_the_first_in_pairs(models: list[Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=ROWS, labels=np.array([0, 1, 2, 3] * 10))
    found = evaluate(models, str(tmp_path / "rows.npz"))
    first, second = found.models
    assert (first.name, first.metric, first.value, first.paired) == ("good", "accuracy", 1.0, None)
    assert (second.value, second.agreement, second.changed) == (0.5, 0.5, 20)
    assert second.paired is not None
    assert (second.paired.difference, second.paired.lost, second.paired.gained) == (-0.5, 20, 0)
    assert second.paired.high < 0
    assert second.output_error == pytest.approx(1.0)
    assert (found.labelled, found.samples, found.notes) == (True, 40, ())
    limited = evaluate(models, str(tmp_path / "rows.npz"), config=EvaluateConfig(limit=8))
    assert limited.samples == 8


def test_without_labels_agreement_decides_and_it_is_said(models: list[Path]) -> None:
    found = evaluate(models, from_arrays({"x": ROWS}), config=EvaluateConfig(task="image-classification"))
    assert [(model.metric, model.value) for model in found.models] == [("agreement", 1.0), ("agreement", 0.5)]
    assert found.models[1].low is not None
    assert found.models[1].low < 0.5
    assert "no labels" in found.notes[0]


def test_a_folder_and_a_file_take_the_same_texts(tmp_path: Path, word_tokenizer: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    config.id2label, config.label2id = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
    folder = tmp_path / "bert"
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((word_tokenizer / "tokenizer.json").read_bytes())
    (tmp_path / "t.csv").write_text("text,label\ngood film,yes\nbad film,no\nthe fox sleeps,yes\n")
    found = evaluate([folder, folder], str(tmp_path / "t.csv"))
    assert found.models[1].agreement == 1.0
    assert found.models[1].paired is not None
    assert found.models[1].paired.p_value == 1.0
    (tmp_path / "t.csv").write_text("text,label\ngood film,ja\n")
    with pytest.raises(DataError, match=r"the label 'ja' is none of the model's classes.*no, yes"):
        evaluate([folder], str(tmp_path / "t.csv"))


def test_tasks_that_do_not_fit_are_errors(models: list[Path], tmp_path: Path) -> None:
    samples = from_arrays({"x": ROWS}, np.array([0, 1, 2, 3] * 10))
    with pytest.raises(RecipeError, match="task 'clasification' is not known"):
        evaluate(models, samples, config=EvaluateConfig(task="clasification"))
    (tmp_path / "d.toml").write_text('kind = "boxes"\n')
    with pytest.raises(RecipeError, match="takes no decoding of kind 'boxes'"):
        evaluate(models, samples, config=EvaluateConfig(decoding=tmp_path / "d.toml"))
    with pytest.raises(DataError, match="at least one"):
        evaluate([], samples)


def test_the_result_is_json(models: list[Path]) -> None:
    from edgeopt.cli.evaluate import _values

    found = evaluate(models, from_arrays({"x": ROWS}, np.array([0, 1, 2, 3] * 10)))
    read = json.loads(json.dumps(_values(found)))
    assert {"name", "metric", "value", "low", "high", "agreement"} <= set(read["models"][0])
    assert read["models"][1]["difference"]["method"] == "mcnemar"


def test_each_model_reads_the_texts_through_its_own_tokenizer(tmp_path: Path, word_tokenizer: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    document = json.loads((word_tokenizer / "tokenizer.json").read_text())
    size = len(document["model"]["vocab"])
    model = transformers.BertForSequenceClassification(config).eval()
    for name in ("one", "other"):
        model.save_pretrained(tmp_path / name)
        (tmp_path / name / "tokenizer.json").write_text(json.dumps(document))
        document = rewritten(document, range(size)[::-1])  # the same words, numbered from the end, for the same rows
        rows = model.bert.embeddings.word_embeddings.weight
        with torch.no_grad():
            rows[:size] = rows[:size].flip(0).clone()
    (tmp_path / "t.csv").write_text("text,label\ngood film,0\nbad film,1\nthe fox sleeps,0\n")
    found = evaluate([tmp_path / "one", tmp_path / "other"], str(tmp_path / "t.csv"))
    assert found.models[1].output_error is not None and found.models[1].output_error < 1e-5
