"""Train a whole network towards the outputs of the floating-point model.

Adam, learning rates in units of each tensor's own step. Scales follow the LSQ gradients and are frozen for the last fifth, so
that weights settle on a grid that stays. Every tenth of the time the held-aside samples are looked at; the best state is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.errors import ModelError
from edgeopt.quantize.training import objective
from edgeopt.quantize.training.blocks import whole
from edgeopt.quantize.training.rates import groups, rates_of, warmed
from edgeopt.quantize.training.run import TrainingRun, held_db, targets, tensors
from edgeopt.quantize.training.samples import epochs

_FROZEN_SHARE = 0.2
_LOOKS = 10
_SEED = 0


Kept = dict[str, Tensor]


def _nothing(_steps: int, _best: float, _kept: Kept) -> None:
    """Keep no state."""


def train_whole(
    work: TrainingRun, *, seconds: float, start: float, done: int = 0, after: Callable[[int, float, Kept], None] = _nothing
) -> int:
    """Train until the time or the steps are over; the module is left in its best state. Return the number of steps.

    Args:
        work: the network, and samples.
        seconds: how long.
        start: the SQNR of the held-aside outputs as they are.
        done: steps of an earlier run that was ended.
        after: called when held-aside samples were looked at: steps, the best SQNR, the best state.
    """
    options, module = work.options, work.module
    optimizer = torch.optim.Adam(groups(whole(module), rates_of(options, options.learning_rate)))
    best, kept = start, {name: value.clone() for name, value in module.state_dict().items()}
    began, steps, looked = time.monotonic(), done, 0
    batches = epochs(work.data.training, work.axes, options.batch_size, seed=_SEED)
    with progress.task("train through the quantizer", total=100) as advance:
        shown, share = 0, 0.0
        while share < 1:
            optimizer.zero_grad()
            told = _accumulate(work, batches)
            warmed(optimizer, share, steps)
            torch.nn.utils.clip_grad_norm_(module.parameters(), options.max_gradient_norm)
            optimizer.step()
            steps += 1
            share = max((time.monotonic() - began) / seconds, steps / options.steps if options.steps else 0.0)
            if share > 1 - _FROZEN_SHARE:
                for grid in module.grids:
                    grid.ratio.requires_grad = False
                    grid.ratio.grad = None
            advance(min(int(100 * share), 100) - shown)
            shown = min(int(100 * share), 100)
            if share * _LOOKS >= looked + 1 or share >= 1:
                looked = int(share * _LOOKS)
                found = held_db(work)
                if found > best:
                    best, kept = found, {name: value.clone() for name, value in module.state_dict().items()}
                progress.note(f"step {steps}: {_told(told)}; held-aside outputs: {found:.1f} dB")
                after(steps, best, kept)
    module.load_state_dict(kept)
    return steps


def _told(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2e}" for name, value in parts.items())


def _accumulate(work: TrainingRun, batches: Iterator[tuple[Batch, int]]) -> dict[str, float]:
    """Sum the gradients of at least `batch_size` samples, each sample with the same weight; return the parts of the loss."""
    wanted = 0
    told: dict[str, float] = {}
    while wanted < work.options.batch_size:
        batch, count = next(batches)
        made = work.module(tensors(batch), frozenset(work.wanted))
        parts = objective.loss(made, targets(work, batch), work.parts, work.options.inner_weight)
        total = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(total):
            bad = next(name for name, part in parts.items() if not torch.isfinite(part))
            raise ModelError(f"training: the loss part '{bad}' is not finite; lower [quantize.train] learning_rate")
        torch.autograd.backward(total * (count / work.options.batch_size))
        wanted += count
        for name, part in parts.items():
            told[name] = told.get(name, 0.0) + float(part.detach()) * count
    return {name: value / wanted for name, value in told.items()}
