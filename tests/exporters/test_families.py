"""A part of the table of families: every kind of task, and every family that others do not resemble.

The rest stands in docs/families.md, where `make families` proves all rows.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeopt.export import ExportConfig, export
from edgeopt.export.proof import prove, tiny_model
from edgeopt.export.registry import FAMILIES, load_family
from edgeopt.graph.session import SessionConfig, open_session
from edgeopt.targets.target import load_target

TEXT = {"batch", "sequence"}
CACHED = {"batch", "sequence", "past_sequence", "past_sequence + sequence"}
SAMPLE = [
    ("deberta_v2", "text-classification", TEXT, 0),
    ("distilbert", "sentence-similarity", TEXT, 2),
    ("bert", "token-classification", TEXT, 2),
    ("electra", "question-answering", TEXT, 2),
    ("mpnet", "feature-extraction", TEXT, 0),
    ("roberta", "fill-mask", TEXT, 2),
    ("resnet", "image-classification", {"batch"}, 0),
    ("convnext", "image-classification", {"batch"}, 0),
    ("vit", "image-feature-extraction", {"batch"}, 2),
    ("yolos", "object-detection", {"batch"}, 2),
    ("rt_detr", "object-detection", {"batch"}, 2),
    ("segformer", "semantic-segmentation", {"batch"}, 4),
    ("depth_anything", "depth-estimation", {"batch"}, 4),
    ("wav2vec2", "automatic-speech-recognition", {"batch", "samples"}, 2),
    ("ast", "audio-classification", {"batch"}, 2),
    ("clip", "text-embedding", TEXT, 2),
    ("clip", "zero-shot-image-classification", {"images", "sequence", "texts"}, 4),
    ("gpt2", "text-generation", CACHED, 2),
    ("llama", "text-generation", CACHED, 2),
    ("t5", "text2text-generation/decoder", {"batch", "sequence", "past_sequence", "source"}, 4),
    ("bart", "text2text-generation/optimum-decoder-with-past", {"batch", "sequence", "past_sequence", "source"}, 4),
    ("whisper", "automatic-speech-recognition/decoder", {"batch", "sequence", "past_sequence"}, 4),
    ("albert", "question-answering", TEXT, 2),
    ("beit", "image-feature-extraction", {"batch"}, 2),
    ("convnextv2", "image-classification", {"batch"}, 0),
    ("deit", "image-classification", {"batch"}, 2),
    ("detr", "object-detection", {"batch"}, 3),
    ("dinov2", "image-feature-extraction", {"batch"}, 2),
    ("efficientnet", "image-classification", {"batch"}, 0),
    ("gemma", "text-generation", CACHED, 2),
    ("glm", "text-generation", CACHED, 2),
    ("hubert", "audio-classification", {"batch", "samples"}, 2),
    ("marian", "text2text-generation/encoder", {"batch", "source"}, 2),
    ("mistral", "text-generation", CACHED, 2),
    ("mobilenet_v1", "image-classification", {"batch"}, 0),
    ("mobilenet_v2", "image-classification", {"batch"}, 0),
    ("mobilevit", "image-classification", {"batch"}, 0),
    ("modernbert", "feature-extraction", TEXT, 4),
    ("opt", "text-generation", CACHED, 2),
    ("phi", "text-generation", CACHED, 2),
    ("qwen2", "text-generation", CACHED, 2),
    ("qwen3", "text-generation", CACHED, 2),
    ("regnet", "image-classification", {"batch"}, 0),
    ("siglip", "image-embedding", {"batch"}, 2),
    ("smollm3", "text-generation", CACHED, 2),
    ("swin", "image-feature-extraction", {"batch"}, 4),
    ("xlm_roberta", "text-classification", TEXT, 2),
    ("bloom", "text-generation", CACHED, 0),
    ("gemma3", "text-generation", CACHED, 2),
    ("sew", "audio-classification", {"batch", "samples"}, 2),
]

ARITHMETIC = ("Cast", "Shape", "Where", "Range", "Expand")
"""Operators that compute sizes, masks and positions instead of the model's answer."""
MOST_ARITHMETIC = {
    "deberta_v2": 20,
    "distilbert": 8,
    "convnext": 4,
    "vit": 3,
    "wav2vec2": 12,
    "clip": 12,
    "llama": 9,
    "t5": 20,
}

CHOSEN_BY_VALUE = {"clip": {"GatherND"}, "whisper": {"GatherND"}}
"""CLIP reads the token with the highest number, which stands elsewhere in each text; Whisper's positions follow its cache."""


def _decodes(task: str) -> bool:
    return task == "text-generation" or task.endswith("/decoder")


@pytest.mark.parametrize(("name", "task", "axes", "attention"), SAMPLE, ids=[f"{name}-{task}" for name, task, *_ in SAMPLE])
def test_a_tiny_model_exports_exactly_with_the_axes_of_its_task(tmp_path, name, task, axes, attention):
    row = prove(load_family(name), task, target=load_target("x86-vnni"), folder=tmp_path)
    assert row.exports, row.reason
    assert set(row.dynamic) == axes
    assert row.relative_error is not None and row.relative_error < 1e-4
    assert row.attention_nodes == attention
    unwanted = {"IsNaN", "GatherND", "ScatterND", "NonZero", "If"} - CHOSEN_BY_VALUE.get(name, set())
    assert not unwanted & row.operators.keys(), "guards and index arithmetic"
    arithmetic = sum(row.operators.get(op, 0) for op in ARITHMETIC)
    assert arithmetic <= MOST_ARITHMETIC.get(name, 24), {op: row.operators[op] for op in ARITHMETIC if op in row.operators}
    assert row.greedy is not False
    assert (row.greedy is True) == _decodes(task)
    _open_without_value_info(tmp_path / "model.onnx")


def _open_without_value_info(path):
    """Load the file as after a tool that dropped the shapes of inner tensors: it must not depend on them."""
    model = onnx.load(path)
    del model.graph.value_info[:]
    open_session(model.SerializeToString(), config=SessionConfig(optimization="none"))
    open_session(model.SerializeToString())


def test_every_kind_of_task_is_in_the_sample_and_every_row_in_the_table():
    rows = {(name, task) for name in FAMILIES for task in load_family(name).tasks}
    assert {task.partition("/")[0] for _, task, *_ in SAMPLE} == {task.partition("/")[0] for _, task in rows}
    assert {name for name, *_ in SAMPLE} <= set(FAMILIES)
    text = (Path(__file__).resolve().parents[2] / "docs" / "families.md").read_text(encoding="utf-8").partition("\n## ")[0]
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert {(family.removeprefix("| "), task) for family, task, exports, *_ in cells if exports == "yes"} == rows


@pytest.mark.parametrize("name", ["mobilenet_v1", "yolos"])
def test_pictures_of_dynamic_size_run_at_four_sizes(tmp_path, name):
    family = load_family(name)
    task = next(iter(family.tasks))
    config = ExportConfig(task=task, dynamic=["height", "width"])
    result = export(tiny_model(family, task), None, target=load_target("x86-vnni"), output=tmp_path, config=config)
    assert result.inputs[0].shape == ("batch", 3, "height", "width")
    assert len({tuple(shape.split("×")[2:]) for shape in result.parity.shapes}) >= 3
    assert result.parity.relative_error < 1e-4
