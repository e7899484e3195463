from __future__ import annotations

import torch

from edgeopt.quantize.training.blocks import blocks_of, whole
from edgeopt.quantize.training.run import TrainingRun, tensors


def test_blocks_end_behind_residual_sums_and_cover_every_step_and_parameter_once(residual_run: TrainingRun) -> None:
    module = residual_run.module
    blocks = blocks_of(module, residual_run.floating)
    assert [block.outputs for block in blocks] == [("s0",), ("s1",), ("y",)]
    assert [number for block in blocks for number in block.steps] == list(range(len(module.steps)))
    together = [id(item) for block in blocks for item in (*block.grids, *block.biases, *(pair[0] for pair in block.weights))]
    assert len(together) == len(set(together)) == len(module.grids) + len(module.biases) + len(module.weights)
    assert [len(block.weights) for block in blocks] == [3, 3, 3]


def test_blocks_one_after_another_compute_what_the_network_computes(residual_run: TrainingRun) -> None:
    module, sample = residual_run.module, tensors(residual_run.data.held[0])
    with torch.no_grad():
        alive = module.given(sample)
        for block in blocks_of(module, residual_run.floating):
            alive = module.advance(alive, block.steps)
        made = {value.name: tensor for value, tensor in alive.items()}
        assert torch.equal(made["y"], module(sample)["y"])


def test_tensor_that_another_operator_makes_in_floating_point_is_no_place_to_cut(residual_run: TrainingRun) -> None:
    """A Relu in front of unsigned integers is gone from the Q/DQ graph, where a Conv makes the tensor called as its output."""
    there = {value.name for step in residual_run.module.steps for value in step.node.outputs if step.node.op_type == "Conv"}
    assert any(name.startswith("r") for name in there if name)
    cut = {name for block in blocks_of(residual_run.module, residual_run.floating) for name in block.outputs}
    assert not any(name.startswith("r") for name in cut)


def test_whole_network_is_one_block(residual_run: TrainingRun) -> None:
    block = whole(residual_run.module)
    assert len(block.weights) == 9 and len(block.biases) == 9 and block.outputs == ("y",)
