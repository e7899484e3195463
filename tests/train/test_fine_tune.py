"""Fine-tuning on labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from edgeopt.data.annotations import Words
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.models.load import LoadedModel, Origin, load_model
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.tasks.text_to_text import Transcription
from edgeopt.train.config import TrainOptions
from edgeopt.train.fine_tune import fine_tune, save_trained
from edgeopt.train.loop import Session

_OPTIONS = TrainOptions(epochs=8.0, batch_size=20, learning_rate=0.02)


def samples(count: int, seed: int) -> Samples:
    values = np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)
    return from_arrays({"input": values}, (values.sum(axis=1) > 0).astype(np.int64))


def model(classes: int = 2) -> LoadedModel:
    torch.manual_seed(0)
    return LoadedModel(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, classes)), None, None)


def test_it_learns_and_keeps_the_best_weights() -> None:
    result = fine_tune(model(), samples(200, 0), SingleLabel(), options=_OPTIONS, session=Session(), evaluation=samples(100, 1))
    values = [evaluation.value for evaluation in result.evaluations]
    assert len(values) == 8
    assert max(values) > 0.9
    assert result.kept_step == result.evaluations[int(np.argmax(values))].step


def test_labels_that_are_missing_or_impossible_are_named() -> None:
    unlabelled = from_arrays({"input": np.zeros((4, 6), np.float32)})
    with pytest.raises(DataError, match="the training split has no labels"):
        fine_tune(model(), unlabelled, SingleLabel(), options=_OPTIONS, session=Session())
    wrong = from_arrays({"input": np.zeros((4, 6), np.float32)}, np.array([0, 1, 2, 1]))
    with pytest.raises(DataError, match="labels from 0 to 2 are impossible for a model of 2 classes"):
        fine_tune(model(), wrong, SingleLabel(), options=_OPTIONS, session=Session())
    with pytest.raises(DataError, match="has no samples"):
        fine_tune(model(), samples(4, 0).take([]), SingleLabel(), options=_OPTIONS, session=Session())


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    arguments = {"width": 8, "stages": 1, "blocks": 1}
    origin = Origin("edgeopt.models.residual_cnn:ResidualCNN", arguments)
    trained = LoadedModel(ResidualCNN(**arguments).eval(), None, None, origin=origin)
    images = from_arrays({"image": np.zeros((2, 1, 8, 8), np.float32)})
    save_trained(trained, images, tmp_path / "out")
    again = load_model(tmp_path / "out").module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in trained.module.state_dict().items())


def test_a_sequence_to_sequence_model_learns_to_answer() -> None:
    pytest.importorskip("jiwer")
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = transformers.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, dropout_rate=0.0)
    module = transformers.T5ForConditionalGeneration(config)
    ids = np.random.default_rng(0).integers(4, 12, (120, 5))
    given = from_arrays({"input_ids": ids, "attention_mask": np.ones_like(ids)})

    def to_text(tokens: Sequence[int]) -> str:
        return " ".join(str(token) for token in tokens if token > 3)

    words = [Words((4 if row[0] > 7 else 5, 1), to_text) for row in ids]  # a token that the first one decides, and the end
    spoken = replace(given, contexts=words, annotations=[to_text(one.tokens) for one in words])
    options = TrainOptions(epochs=16.0, batch_size=20, learning_rate=0.02, precision="no")
    result = fine_tune(
        LoadedModel(module, None, None),
        spoken,
        Transcription(),
        options=options,
        session=Session(),
        evaluation=spoken.take(range(24)),
    )
    assert min(one.value for one in result.evaluations) < 0.35, "the word error rate"
    assert result.history[-1].loss < 0.5 * result.history[0].loss
