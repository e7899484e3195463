"""The training loop: steps, evaluation, checkpoints that resume exactly. The caller supplies the objective.

    batch ─▶ shares of processes and micro-batches ─▶ Σ sums / global count ─▶ gradient ─▶ optimizer
      ▲                                                                           │
      └── order, views, dropout: all from the seed          evaluation, best weights, checkpoint, callbacks

All randomness (the order of the samples, their views, dropout) comes from the seed: a training that was killed and resumed ends
with the same weights, bit for bit, as one that was not. Accelerate handles devices, mixed precision and processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeopt import progress
from edgeopt.data.augment.views import PlainViews
from edgeopt.data.samples import Samples
from edgeopt.models.call import to_tensors
from edgeopt.train.adapters import attach
from edgeopt.train.best import BestWeights
from edgeopt.train.callbacks import Callback, Step
from edgeopt.train.checkpoint import Progress, Trained, load_checkpoint, save_checkpoint
from edgeopt.train.config import TrainOptions
from edgeopt.train.defaults import settled
from edgeopt.train.epoch import Epoch, Evaluation
from edgeopt.train.faults import check_gradient, check_loss, memory_advice
from edgeopt.train.objective import Loss, MeanLoss, Objective, TrainBatch
from edgeopt.train.optimizers import freeze, is_folded, make_optimizer, set_learning_rate, set_training
from edgeopt.train.order import batch_count, epoch_batches, lengths_of, ordered
from edgeopt.train.precision import precision
from edgeopt.train.processes import add_gradients, added, agreed, random_states, shares, start_equal, total_counts
from edgeopt.train.schedule import learning_rate
from edgeopt.train.trackers import open_accelerator, tracking
from edgeopt.train.watch import Watch

__all__ = ["Loss", "Session", "TrainResult", "epoch_batches", "fit"]


@dataclass(frozen=True)
class Session:
    """Seed and checkpoint of a training.

    Attributes:
        seed: seed of order, views and dropout.
        checkpoint: folder of its checkpoint.
        key: identity of the training; a checkpoint with another key is not used.
        logs: folder of the trackers' files.
    """

    seed: int = 0
    checkpoint: Path | None = None
    key: str = ""
    logs: Path | None = None


@dataclass(frozen=True)
class TrainResult:
    """Result of a training; `history` has one entry per epoch."""

    steps: int
    history: tuple[Epoch, ...]
    resumed_from_step: int
    evaluations: tuple[Evaluation, ...] = field(default=())
    kept_step: int | None = None
    """The step whose weights were kept; None: the last one."""


_DEFAULTS = Session()
_NOTHING = Watch()


def fit(
    model: nn.Module,
    samples: Samples,
    loss: Loss | Objective,
    *,
    options: TrainOptions,
    session: Session = _DEFAULTS,
    watch: Watch = _NOTHING,
) -> TrainResult:
    """Train `model` in place.

    Args:
        model: its parameters that require gradients, and are not frozen by `options`, are trained.
        samples: the training split; ragged samples are batched with others of about their length and padded.
        loss: an objective, or a function that returns the mean loss of a batch (`Loss`).
        options: how to train.
        session: the seed, and where to resume from and save into.
        watch: evaluation, callbacks, random views.

    Raises:
        RecipeError: the loss is not finite, or an option does not fit the model.
        MachineError: out of memory; the message proposes an accumulation.
    """
    objective = MeanLoss(loss) if callable(loss) and not hasattr(loss, "sums") else loss
    torch.manual_seed(session.seed)
    options = settled(options, model)
    freeze(model, options.freeze or ())
    with attach(model, options.adapter):
        run = _Run(model, samples, objective, options, session, watch)  # type: ignore[arg-type]
        with memory_advice(options), tracking(run.accelerator, options):
            return run.train()


class _Run:
    """One call of `fit`."""

    def __init__(  # noqa: PLR0917
        self, model: nn.Module, samples: Samples, objective: Objective, options: TrainOptions, session: Session, watch: Watch
    ) -> None:
        self.model, self.objective, self.options, self.session = model, objective, options, session
        self.accelerator = open_accelerator(options, precision(options, model), session.logs)
        self.main = self.accelerator.is_main_process
        model.to(self.accelerator.device)
        if objective.learned is not None:
            objective.learned.to(self.accelerator.device)
        optimizer = make_optimizer(model, objective.learned, options)
        self.trained = Trained(model, optimizer, objective.learned)
        self.file = None if session.checkpoint is None else session.checkpoint / "training.safetensors"
        process = self.accelerator.process_index
        self.state = (
            load_checkpoint(self.file, self.trained, key=session.key, process=process) if self.file else None
        ) or Progress()
        self.resumed_from = self.state.step
        for module in filter(None, (model, objective.learned)):
            start_equal(module, self.accelerator)
        if not self.resumed_from and process:
            torch.manual_seed(session.seed + process)
        self.optimizer = self.accelerator.prepare(optimizer)
        self.views = watch.views or PlainViews(samples)
        self.samples = samples
        self.steps_per_epoch = batch_count(samples, options.batch_size)
        self.steps = max(1, round(options.epochs * self.steps_per_epoch))
        self.evaluate, self.callbacks = watch.evaluate, list(watch.callbacks)
        self.best = BestWeights(session.checkpoint, self.state)
        self.parameters = [item for group in optimizer.param_groups for item in group["params"]]
        self.begun = self.saved = time.monotonic()
        self.started = self.begun - self.state.seconds
        self.done_samples = 0
        self.lengths = lengths_of(samples)

    # the way through the steps -------------------------------------------------------------------------------------------

    def train(self) -> TrainResult:
        if self.resumed_from and self.main:
            progress.note(f"training: resumed from step {self.resumed_from:,}")
        folded = sum(map(is_folded, self.model.modules()))
        if folded and self.main:
            progress.note(
                f"training: {folded} batch normalisations keep their statistics, which were folded into the layers before"
            )
        set_training(self.model)
        with progress.task("train", total=None if self.options.max_seconds else self.steps) as advance:
            advance(self.state.step)
            for epoch, indices in self._batches():
                step = self._step(indices, epoch)
                advance(detail=step.line(self._last_evaluation()))
                self._report(step)
                if self._evaluation_due() and self._evaluated_enough():
                    break
                self._save_now_and_then()
        if self.evaluate is not None and not self._is_evaluated():  # the time ended between a step and the next one
            self._evaluated_enough()
        kept = self.best.restore(self.model) if self.options.keep == "best" else None
        self.accelerator.wait_for_everyone()  # the first process may remove the files that the others have just read
        self.model.eval()
        evaluations = tuple(Evaluation(**entry) for entry in self.state.evaluations)
        return TrainResult(
            self.state.step, tuple(Epoch(**entry) for entry in self.state.history), self.resumed_from, evaluations, kept
        )

    def _batches(self) -> Any:
        """Yield (epoch, sample indices) from the present step to the last one, or until the time is over."""
        while self.state.step < self.steps:
            epoch, start = divmod(self.state.step, self.steps_per_epoch)
            seeds = self.session.seed, epoch
            batches = ordered(self.lengths, len(self.samples), self.options.batch_size, seeds, group=self.samples.group)
            for indices in batches[start : start + self.steps - self.state.step]:
                if self._share_done() >= 1:
                    self._end_epoch()
                    return
                yield epoch, indices

    def _share_done(self) -> float:
        """Return the share of the training that is done, by steps or by time, whichever is further."""
        by_steps = self.state.step / self.steps
        if self.options.max_seconds is None:
            return by_steps
        return agreed(max(by_steps, (time.monotonic() - self.started) / self.options.max_seconds), self.accelerator)

    def _step(self, indices: Sequence[int], epoch: int) -> Step:
        limited = self.options.max_seconds is not None
        place = math.floor(self._share_done() * self.steps) if limited else self.state.step
        rate = learning_rate(self.options, min(place, self.steps - 1), self.steps)
        set_learning_rate(self.optimizer, rate)
        parts = self._backward(indices, epoch % self.views.count)
        number = self.state.step + 1
        check_loss(parts, number, self.file)
        add_gradients(self.parameters, self.accelerator)
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.options.max_gradient_norm)
        if self.accelerator.mixed_precision != "fp16":  # where infinite gradients are skipped by the scaler
            check_gradient(norm, number, self.file)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done_samples += len(indices)
        loss = sum(self.objective.weights[name] * value for name, value in parts.items())
        self._count(float(loss), parts)
        return Step(number, self.steps, float(loss), parts, rate, self.done_samples / max(time.monotonic() - self.begun, 1e-9))

    def _backward(self, indices: Sequence[int], view: int) -> dict[str, float]:
        """Add the gradients of a batch, micro-batch by micro-batch; return the mean of each part over the global batch."""
        micro = [self._share(share, view) for share in self._shares(indices)]
        names = list(self.objective.weights)
        counts = total_counts((self.objective.counts(batch) for batch in micro), names, self.accelerator)
        sums = torch.zeros(len(names), dtype=torch.float64)
        for batch in micro:
            with self.accelerator.autocast():
                parts = self.objective.sums(self.model, batch)
            scaled = [
                self.objective.weights[name] * parts[name] / max(counts[name], 1e-12) for name in names if counts[name] > 0
            ]
            if scaled:
                self.accelerator.backward(torch.stack([part.float() for part in scaled]).sum())
            sums += torch.tensor([float(parts[name].detach()) for name in names], dtype=torch.float64)
        total = added(sums, self.accelerator).tolist()
        return {name: value / counts[name] for name, value in zip(names, total, strict=True) if counts[name] > 0}

    def _shares(self, indices: Sequence[int]) -> list[list[int]]:
        return shares(indices, self.accelerator, self.options.accumulation, group=self.samples.group)

    def _share(self, indices: Sequence[int], view: int) -> TrainBatch:
        device = self.accelerator.device
        seen = self.views.batch(indices, view)
        shares_, labelled = (torch.from_numpy(values).to(device) for values in (seen.shares, seen.labelled))
        return TrainBatch(to_tensors(seen.arrays, device), tuple(indices), view, seen.partners, shares_, labelled)

    # what is written down ------------------------------------------------------------------------------------------------

    def _count(self, loss: float, parts: Mapping[str, float]) -> None:
        state = self.state
        state.step += 1
        state.loss_sum += loss
        state.loss_steps += 1
        for name, value in parts.items():
            state.part_sums[name] = state.part_sums.get(name, 0.0) + value
        if state.step % self.steps_per_epoch == 0 or state.step == self.steps:
            self._end_epoch()

    def _end_epoch(self) -> None:
        state = self.state
        if not state.loss_steps:
            return
        parts = (
            {name: value / state.loss_steps for name, value in state.part_sums.items()}
            if len(self.objective.weights) > 1
            else {}
        )
        state.history.append({"epoch": len(state.history) + 1, "loss": state.loss_sum / state.loss_steps, "parts": parts})
        state.loss_sum, state.loss_steps, state.part_sums = 0.0, 0, {}

    def _evaluation_due(self) -> bool:
        every = self.options.evaluate_every or self.steps_per_epoch
        over = self.state.step == self.steps or self._share_done() >= 1
        return self.evaluate is not None and (over or self.state.step % every == 0)

    def _is_evaluated(self) -> bool:
        last = self._last_evaluation()
        return last is not None and last.step == self.state.step

    def _evaluated_enough(self) -> bool:
        """Evaluate; return whether that is to be the last one, because none was better for too long."""
        state, evaluate = self.state, self.evaluate
        assert evaluate is not None
        value = merit = math.nan
        metric = ""
        if self.main:
            self.model.eval()
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                score = evaluate(self.model)
            metric, value, merit = score.metric, score.value, score.merit
            set_training(self.model)
        value, merit = agreed(value, self.accelerator), agreed(merit, self.accelerator)
        evaluation = Evaluation(state.step, metric, value)
        state.evaluations.append(asdict(evaluation))
        best = self.best.offer(self.model, merit, main=self.main)
        self._tell(lambda callback: callback.on_evaluate(evaluation, best=best))
        if best and self.file:
            self._save()
            self.best.forget_others()
        return self.options.patience is not None and self.best.worse_since(state) >= self.options.patience

    def _last_evaluation(self) -> Evaluation | None:
        return Evaluation(**self.state.evaluations[-1]) if self.state.evaluations else None

    def _report(self, step: Step) -> None:
        self._tell(lambda callback: callback.on_step(step))
        if self.options.trackers:
            values = {"loss": step.loss, "learning_rate": step.learning_rate, **{f"loss/{k}": v for k, v in step.parts.items()}}
            self.accelerator.log(values, step=step.step)

    def _tell(self, call: Callable[[Callback], None]) -> None:
        for callback in self.callbacks if self.main else ():
            call(callback)

    def _save_now_and_then(self) -> None:
        due = time.monotonic() - self.saved >= self.options.checkpoint_seconds
        if self.file and agreed(float(due), self.accelerator):
            self._save()

    def _save(self) -> None:
        random = random_states(self.accelerator)
        self.state.seconds = time.monotonic() - self.started
        if self.main and self.file:
            save_checkpoint(self.file, self.trained, self.state, key=self.session.key, random=random)
            file = self.file
            self._tell(lambda callback: callback.on_save(file))
        self.saved = time.monotonic()
        self.accelerator.wait_for_everyone()
