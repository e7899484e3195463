"""The training loop: AdamW, a schedule, checkpoints that resume exactly. The caller supplies the loss.

All randomness (the order of the samples, dropout) comes from the seed: a training that was killed and resumed ends with the
same weights, bit for bit, as one that was not. Accelerate handles devices and mixed precision.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.data.samples import Samples
from edgeopt.models.call import to_tensors
from edgeopt.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from edgeopt.train.config import TrainOptions
from edgeopt.train.epoch import Epoch
from edgeopt.train.schedule import learning_rate

Loss = Callable[[nn.Module, Mapping[str, Tensor], Sequence[int]], Tensor]
"""Maps (model, inputs, the batch's sample indices) to a scalar loss."""
_BUCKET_BATCHES = 50


@dataclass(frozen=True)
class Session:
    """Seed and checkpoint of a training.

    Attributes:
        seed: seed of order and dropout.
        checkpoint: folder of its checkpoint.
        key: identity of the training; a checkpoint with another key is not used.
    """

    seed: int = 0
    checkpoint: Path | None = None
    key: str = ""


@dataclass(frozen=True)
class TrainResult:
    """Result of a training; `history` has one entry per epoch."""

    steps: int
    history: tuple[Epoch, ...]
    resumed_from_step: int


_DEFAULTS = Session()


def fit(
    model: nn.Module,
    samples: Samples,
    loss: Loss,
    *,
    options: TrainOptions,
    session: Session = _DEFAULTS,
) -> TrainResult:
    """Train `model` in place.

    Args:
        model: its parameters that require gradients are trained.
        samples: the training split; ragged samples are batched with others of about their length and padded.
        loss: see `Loss`.
        options: how to train.
        session: the seed, and where to resume from and save into.
    """
    torch.manual_seed(session.seed)
    accelerator = Accelerator(mixed_precision=options.precision)
    optimizer = _optimizer(model, options)
    file = None if session.checkpoint is None else session.checkpoint / "training.safetensors"
    state = (load_checkpoint(file, model, optimizer, key=session.key) if file else None) or Progress()
    resumed_from = state.step
    if resumed_from:
        progress.note(f"training: resumed from step {resumed_from:,}")
    prepared, optimizer = accelerator.prepare(model, optimizer)
    steps_per_epoch = math.ceil(len(samples) / options.batch_size)
    steps = max(1, round(options.epochs * steps_per_epoch))
    saved = time.monotonic()
    model.train()
    with progress.task("train", total=steps) as advance:
        advance(state.step)
        while state.step < steps:
            epoch, start = divmod(state.step, steps_per_epoch)
            for indices in epoch_batches(samples, options.batch_size, seed=session.seed, epoch=epoch)[
                start : start + steps - state.step
            ]:
                _set_learning_rate(optimizer, learning_rate(options, state.step, steps))
                inputs = to_tensors(samples.collate(indices), accelerator.device)
                with accelerator.autocast():
                    value = loss(prepared, inputs, indices)
                accelerator.backward(value)
                accelerator.clip_grad_norm_(prepared.parameters(), options.max_gradient_norm)
                optimizer.step()
                optimizer.zero_grad()
                _count(
                    state, float(value.detach()), ends_epoch=(state.step + 1) % steps_per_epoch == 0 or state.step + 1 == steps
                )
                advance()
                if file and time.monotonic() - saved >= options.checkpoint_seconds:
                    save_checkpoint(file, model, optimizer, state, key=session.key)
                    saved = time.monotonic()
    model.eval()
    return TrainResult(steps, tuple(Epoch(**entry) for entry in state.history), resumed_from)


def epoch_batches(samples: Samples, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Return the epoch's batches of sample indices, shuffled; ragged samples are batched with others of similar length.

    Sorting by length happens within runs of 50 batches, and the batches are shuffled again, so the order stays random.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(len(samples))
    lengths = _lengths(samples)
    if lengths is None:
        return [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
    batches = []
    for start in range(0, len(order), batch_size * _BUCKET_BATCHES):
        run = order[start : start + batch_size * _BUCKET_BATCHES]
        run = run[np.argsort(lengths[run], kind="stable")]
        batches += [run[place : place + batch_size].tolist() for place in range(0, len(run), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches))]


def _lengths(samples: Samples) -> np.ndarray[Any, Any] | None:
    """Return each sample's number of elements, or None if all samples have one shape (judged from two of them)."""
    ragged = any(
        samples[index][name].shape != array.shape
        for name, array in samples[0].items()
        for index in range(min(64, len(samples)))
    )
    if not ragged:
        return None
    return np.asarray([max(array.size for array in samples[index].values()) for index in range(len(samples))])


def _optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=options.learning_rate)


def _set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def _count(state: Progress, loss: float, *, ends_epoch: bool) -> None:
    state.step += 1
    state.loss_sum += loss
    state.loss_steps += 1
    if ends_epoch:
        state.history.append({"epoch": len(state.history) + 1, "loss": state.loss_sum / state.loss_steps})
        state.loss_sum, state.loss_steps = 0.0, 0
