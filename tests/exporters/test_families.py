"""One row of the table of families for each kind of model; `make families` runs all of them."""

from __future__ import annotations

import pytest

from edgeopt.export.proof import prove
from edgeopt.export.registry import load_family
from edgeopt.targets.target import load_target

SAMPLE = [
    ("deberta_v2", "text-classification", {"batch", "sequence"}, 0),
    ("distilbert", "sentence-similarity", {"batch", "sequence"}, 2),
    ("convnext", "image-classification", {"batch"}, 0),
    ("vit", "image-feature-extraction", {"batch"}, 2),
    ("wav2vec2", "automatic-speech-recognition", {"batch", "samples"}, 2),
    ("clip", "text-embedding", {"batch", "sequence"}, 2),
    ("llama", "text-generation", {"batch", "sequence", "past_sequence", "past_sequence + sequence"}, 2),
    ("t5", "text2text-generation/decoder", {"batch", "sequence", "past_sequence", "source"}, 4),
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


@pytest.mark.parametrize(("name", "task", "axes", "attention"), SAMPLE, ids=[f"{name}-{task}" for name, task, *_ in SAMPLE])
def test_a_tiny_model_exports_exactly_with_the_axes_of_its_task(tmp_path, name, task, axes, attention):
    row = prove(load_family(name), task, target=load_target("x86-vnni"), folder=tmp_path)
    assert row.exports, row.reason
    assert set(row.dynamic) == axes
    assert row.relative_error is not None and row.relative_error < 1e-4
    assert row.attention_nodes == attention
    assert not {"IsNaN", "GatherND", "ScatterND", "NonZero", "If"} & row.operators.keys(), "guards and index arithmetic"
    arithmetic = sum(row.operators.get(op, 0) for op in ARITHMETIC)
    assert arithmetic <= MOST_ARITHMETIC[name], {op: row.operators[op] for op in ARITHMETIC if op in row.operators}
    assert row.greedy is not False
    assert (row.greedy is None) == ("generation" not in task or task.endswith("/encoder"))
