"""Train a network block by block, each towards what the floating-point model has at its end.

    x̃ (rounded, from the blocks before) → block → ỹ        loss = Σ(ỹ - y)² / Σ y²,  y of the floating-point model

A block has few parameters beside what a batch of its activations says about them, and its gradients pass through few
roundings, so a hundred samples are enough and a step costs a fraction of one through the network (block reconstruction, Li et
al., https://arxiv.org/abs/2102.05426, there for the rounding alone). Its input is what the blocks before really give, so it
makes up for their errors. Rounding makes the loss jump to and fro, so held-aside samples are looked at several times, and the
best state is kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.graph.matching import name_of
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.training.blocks import Block, blocks_of
from edgeopt.quantize.training.objective import of_part
from edgeopt.quantize.training.rates import groups, rates_of, warmed
from edgeopt.quantize.training.run import TrainingRun, tensors

_MEMORY_BYTES = 1 << 30  # of what blocks read and of what they are trained towards
_FEWEST_STEPS = 8
_WANTED_STEPS, _SMALLEST_BATCH, _LARGEST_BATCH = 200, 2, 4
_LOOKS = 6
_BEGINNING_SHARE = 0.2  # of the time: for running the floating-point model on the samples

Alive = dict[ir.Value, Tensor]


@dataclass(frozen=True)
class _Sample:
    """One sample on its way through the blocks: what is alive, and the tensors that the floating-point model has."""

    alive: Alive
    wanted: Mapping[str, Tensor]


def _nothing(_: int) -> None:
    """Keep no state."""


def train_blocks(
    work: TrainingRun, *, seconds: float, steps: int | None, first: int = 0, after: Callable[[int], None] = _nothing
) -> int:
    """Train each block in turn; return the number of blocks that gained.

    Args:
        work: the network, and samples.
        seconds: for all blocks together.
        steps: of each block; None: as many as its share of the time allows.
        first: the first block to train: those before it are trained.
        after: called after each block, with the number of blocks that are trained then.
    """
    blocks = blocks_of(work.module, work.floating)
    names = list(dict.fromkeys(name for block in blocks for name in block.outputs))
    teacher = open_exposed(work.floating, names, threads=torch.get_num_threads())
    held = [_begun(work, teacher, names, sample) for sample in work.data.held]
    end = time.monotonic() + seconds
    training: list[_Sample] = []
    for sample in _within(work.data.training, held, work):
        if len(training) >= _LARGEST_BATCH and time.monotonic() > end - (1 - _BEGINNING_SHARE) * seconds:
            break  # (many samples, little time)
        training.append(_begun(work, teacher, names, sample))
    costs = _costs(work, blocks, held[0])
    gained = 0
    with progress.task("train block by block", total=len(blocks)) as advance:
        for number, block in enumerate(blocks):
            if number >= first:
                share = max(end - time.monotonic(), 0.0) * costs[number] / sum(costs[number:])
                gained += _trained(work, block, (training, held), seconds=share, steps=steps)
            training = [_passed(work, block, sample) for sample in training]
            held = [_passed(work, block, sample) for sample in held]
            if number >= first:
                after(number + 1)
            advance()
    return gained


def _costs(work: TrainingRun, blocks: Sequence[Block], sample: _Sample) -> list[float]:
    """Return how the time is shared: by the square root of what a step costs, so that no block has very few."""
    costs = []
    for block in blocks:
        began = time.monotonic()
        sample = _passed(work, block, sample)
        costs.append(math.sqrt(max(time.monotonic() - began, 1e-6)))
    return costs


def _begun(work: TrainingRun, teacher: object, names: Sequence[str], sample: Batch) -> _Sample:
    found = run(teacher, names, sample, sample=0)
    wanted = {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in found.items()}
    return _Sample(work.module.given(tensors(sample)), wanted)


def _within(samples: Sequence[Batch], measured: Sequence[_Sample], work: TrainingRun) -> Sequence[Batch]:
    """Return as many of the samples as fit into memory."""
    each = max(sum(tensor.nbytes for tensor in (*item.alive.values(), *item.wanted.values())) for item in measured)
    return samples[: max(_MEMORY_BYTES // max(each, 1), work.options.batch_size)]


@torch.no_grad()
def _passed(work: TrainingRun, block: Block, sample: _Sample) -> _Sample:
    """Return the sample behind the block, without targets that were needed for it alone."""
    alive = {value: tensor.detach() for value, tensor in work.module.advance(sample.alive, block.steps).items()}
    return _Sample(alive, {name: tensor for name, tensor in sample.wanted.items() if name not in block.outputs})


def _trained(
    work: TrainingRun, block: Block, data: tuple[list[_Sample], list[_Sample]], *, seconds: float, steps: int | None
) -> bool:
    """Train one block; it is left in its best state on held-aside samples. Return whether that is not the first one."""
    training, held = data
    parameters = [*(weight for weight, _ in block.weights), *(bias.values for bias in block.biases), *block.floats]
    parameters += [grid.ratio for grid in block.grids]
    if not parameters or not block.outputs:
        return False
    best = before = _error(work, block, held)
    kept = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.Adam(groups(block, rates_of(work.options, work.options.block_learning_rate)))
    generator = np.random.default_rng(0)
    size = _batch_size(work, block, training, math.inf if steps else seconds)
    began, done, share, looked = time.monotonic(), 0, 0.0, 0
    while share < 1:
        optimizer.zero_grad()
        _accumulate(work, block, [training[place] for place in generator.permutation(len(training))[:size]])
        warmed(optimizer, share, done)
        optimizer.step()
        done += 1
        spent = (time.monotonic() - began) / max(seconds, 1e-3) if done >= _FEWEST_STEPS or steps else 0.0
        share = done / steps if steps else spent
        if share * _LOOKS >= looked + 1 or share >= 1:
            looked = int(share * _LOOKS)
            found = _error(work, block, held)
            if found < best:
                best, kept = found, [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    return best < before


def _batch_size(work: TrainingRun, block: Block, training: Sequence[_Sample], seconds: float) -> int:
    """Return how many samples a step has: fewer than asked where else too few steps would fit into the time."""
    began = time.monotonic()
    _accumulate(work, block, training[:1])
    for parameter in work.module.parameters():
        parameter.grad = None
    fitting = seconds / max(time.monotonic() - began, 1e-6) / _WANTED_STEPS
    return int(min(max(fitting, _SMALLEST_BATCH), _LARGEST_BATCH, len(training)))


def _accumulate(work: TrainingRun, block: Block, samples: Sequence[_Sample]) -> None:
    """Sum the gradients of some samples; weights are rounded once for all of them."""
    constants = work.module.advance({}, block.constants)
    leaves = {value: tensor.detach().requires_grad_() for value, tensor in constants.items()}
    for sample in samples:
        torch.autograd.backward(_loss(work, block, sample, leaves) / len(samples))
    reached = [(tensor, leaves[value].grad) for value, tensor in constants.items() if leaves[value].grad is not None]
    torch.autograd.backward([tensor for tensor, _ in reached], [gradient for _, gradient in reached])


def _loss(work: TrainingRun, block: Block, sample: _Sample, constants: Alive) -> Tensor:
    steps = [number for number in block.steps if number not in block.constants]
    made = {name_of(value): tensor for value, tensor in work.module.advance({**sample.alive, **constants}, steps).items()}
    return torch.stack([of_part(part, made, sample.wanted) for part in work.compared(block.outputs)]).mean()


@torch.no_grad()
def _error(work: TrainingRun, block: Block, samples: Sequence[_Sample]) -> float:
    constants = work.module.advance({}, block.constants)
    return float(torch.stack([_loss(work, block, sample, constants) for sample in samples]).mean())
