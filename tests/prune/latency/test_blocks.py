"""Blocks sliced out of exported files: they run, alone and in the whole model, and cost what the pruned export costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edgeopt.data.random_inputs import random_batches
from edgeopt.errors import ModelError
from edgeopt.export import ExportConfig, export
from edgeopt.graph import files
from edgeopt.graph.exposed import ExposedModel
from edgeopt.graph.macs import count_macs
from edgeopt.models.reshape import reshape
from edgeopt.prune.latency.blocks import alone, boundary_of, find_blocks, signature, whole
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.parts import Cut, Kind, Part
from edgeopt.prune.surgery import Choice, shape_after
from edgeopt.targets.target import load_target
from tests.prune.tiny_models import tiny

_SIZES = {"batch": 1, "past_sequence": 0}


@pytest.mark.parametrize("family", ["bert", "llama", "vit"])
def test_a_sliced_file_has_the_macs_of_the_pruned_models_export(family: str, tmp_path: Path) -> None:
    model, _, task = tiny(family)
    target = load_target("x86-vnni")
    path = export(model, None, target=target, output=tmp_path / "whole", config=ExportConfig(task=task)).path
    parts, graph = anatomy_of(model).parts, files.load(path)
    inputs = random_batches(path, count=1, dynamic_size=20, sizes=_SIZES)[0]
    blocks = {part.name: find_blocks(graph, part) for part in parts}
    names = boundary_of([block for found in blocks.values() for block in found], graph)
    values = {
        **inputs,
        **{name: np.array(array) for name, array in ExposedModel(graph, names, threads=1)(inputs, sample=0).items()},
    }
    counts = {part.name: max(1, part.units // (2 + place % 2)) for place, part in enumerate(parts)}
    sliced, given = whole(graph, [(block, counts[part.name]) for part in parts for block in blocks[part.name]], values)
    files.save(sliced, tmp_path / "sliced.onnx")
    ort.InferenceSession(tmp_path / "sliced.onnx", providers=["CPUExecutionProvider"]).run(None, dict(given))
    shape = shape_after(model, [Choice(part, tuple(range(counts[part.name]))) for part in parts])
    reshape(model, shape)
    pruned = export(model, None, target=target, output=tmp_path / "pruned", config=ExportConfig(task=task)).path
    wanted = count_macs(files.load(pruned), random_batches(pruned, count=1, dynamic_size=20, sizes=_SIZES)[0])
    assert sum(count_macs(files.load(tmp_path / "sliced.onnx"), given).values()) == sum(wanted.values())
    for part in parts[:2]:
        one, own = alone(graph, blocks[part.name], counts[part.name], values)
        files.save(one, tmp_path / "block.onnx")
        outputs = ort.InferenceSession(tmp_path / "block.onnx", providers=["CPUExecutionProvider"]).run(None, dict(own))
        assert len(outputs) == 1 and outputs[0].shape[-1] == 32
        assert signature(one, own) != signature(*alone(graph, blocks[part.name], part.units, values))
        assert len(list(one.graph)) < len(list(graph.graph))


def test_a_weight_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    model, _, task = tiny("bert")
    path = export(model, None, target=load_target("x86-vnni"), output=tmp_path, config=ExportConfig(task=task)).path
    part = Part("x", Kind.NEURONS, 4, (), (Cut("decoder.out", "in", 1),))
    with pytest.raises(ModelError, match=r"no product with the weight of 'decoder\.out'"):
        find_blocks(files.load(path), part)
