"""Train the Q/DQ graph that a plan made, with calibration samples and no labels, and put what was learned back into it.

1. The graph becomes a PyTorch module (`graph_module.py`); it must give what onnxruntime gives before a step is made.
2. Weights are rounded as their layers' outputs need it (adaptive rounding), one layer after another.
3. Blocks are trained one after another towards what the floating-point model has at their ends (`block_wise.py`).
4. The whole network is trained towards the floating-point model's outputs (`end_to_end.py`).
5. What was written is compared once more with onnxruntime; a file that does not do what was trained is refused.

After each phase the held-aside samples are looked at; a phase that gains nothing is taken back. The state is kept on disk
(`checkpoint.py`), so that a run that was killed resumes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir
import torch

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.graph.editing import copied
from edgeopt.quantize.affine import limits
from edgeopt.quantize.apply.bias import affine_of
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.config import TrainingOptions
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.search.trials import Outcome
from edgeopt.quantize.training.block_wise import train_blocks
from edgeopt.quantize.training.checkpoint import Checkpoint, Phase, PhaseProgress, State, key_of
from edgeopt.quantize.training.checks import check_same
from edgeopt.quantize.training.end_to_end import train_whole
from edgeopt.quantize.training.graph_module import GraphModule
from edgeopt.quantize.training.run import TrainingRun, held_db, prepared_run

_SEED = 0
_BLOCKS_SHARE = 0.6
"""Of the time that adaptive rounding leaves: for training block by block."""

_BLOCKS_FORWARDS = 60
"""Forward passes of the network that the fewest steps of all blocks cost."""

_ROUNDING_SHARE = 0.5
"""Of the time: adaptive rounding leaves later layers as they are when it is over."""

Round = Callable[[Outcome, Sequence[Batch], float], Outcome]
"""Chooses the integers of weights again, in place, for this many seconds."""


def trained(
    prepared: Prepared, outcome: Outcome, samples: Sequence[Batch], options: TrainingOptions, *, rounded: Round | None = None
) -> Outcome:
    """Return `outcome` with weights and ranges trained, or as it was where nothing is gained.

    Args:
        prepared: the floating-point model.
        outcome: a plan, and the Q/DQ graph it makes.
        samples: calibration samples, as the model takes them.
        options: how long, and how.
        rounded: how weights are rounded before training; None: to the nearest.

    Raises:
        ModelError: the graph has operators that cannot be trained through, or PyTorch computes something else than onnxruntime.
    """
    floating = smoothed(prepared.model, outcome.plan)
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        work = prepared_run(
            floating, replace(outcome, quantized=copied(outcome.quantized)), samples, prepared.signature, options
        )
        check_same(work, outcome.quantized, when="before training")
        checkpoint = Checkpoint(options.checkpoint, key_of(work.module.state_dict(), samples, options))
        made = _Phases(work, outcome, checkpoint).run(rounded)
        done = made.progress
        if done.best <= done.start:
            warning = f"training for {options.time:g} s gained nothing on {len(work.data.held)} held-aside samples"
            plan = outcome.plan.decided("training", "as calibrated", f"{warning}: {done.start:.1f} dB stay")
            return replace(outcome, plan=plan, warning="; ".join(filter(None, [outcome.warning, warning])))
        made.work.module.write()
        check_same(made.work, made.outcome.quantized, when="after training")
    reason = (
        f"held-aside outputs of {done.start:.1f} dB become {done.best:.1f} dB ({', '.join(done.told)}); the file has the "
        "trained weights, the plan alone does not make it again"
    )
    plan = _with_ranges(made.outcome.plan, made.outcome.quantized).decided(
        "training", f"weights, biases and scales, {len(work.data.training)} samples", reason
    )
    return replace(made.outcome, plan=plan)


class _Phases:
    """The phases of one training, and what each gained."""

    def __init__(self, work: TrainingRun, outcome: Outcome, checkpoint: Checkpoint) -> None:
        self.work, self.outcome = work, replace(outcome, quantized=work.module.model)
        self.progress = PhaseProgress()
        self._checkpoint, self._began = checkpoint, time.monotonic()

    def run(self, rounded: Round | None) -> _Phases:
        """Run all phases that an earlier run has not done, and return this."""
        loaded = self._checkpoint.load()
        if loaded is None:
            self.progress.start = self.progress.best = held_db(self.work)
            self.progress.held = len(self.work.data.held)
            kept = now = self._state()
        else:
            self.progress, kept, now = loaded
            self._resume(kept, now)
        self._earlier_s = self.progress.seconds
        if self.progress.phase is Phase.ROUNDING:
            if rounded is not None:
                self._round(rounded)
            kept = self._ended(Phase.BLOCKS)
        if self.progress.phase is Phase.BLOCKS:
            if self.work.options.block_learning_rate:
                self._train_blocks(kept)
            self._ended(Phase.WHOLE)
        self._train_whole()
        return self

    def _resume(self, kept: State, now: State) -> None:
        """Put the states of an earlier run into the network; what it looked at is looked at again where samples differ.

        How many are held aside follows from how fast the network is, which another run finds different.
        """
        done, held = self.progress, len(self.work.data.held)
        if held != done.held:
            done.start = held_db(self.work)
        if done.rounding is not None:
            self._take(replace(self.outcome, plan=self.outcome.plan.decided(*done.rounding)))
        if held != done.held:
            self.work.module.load_state_dict(kept)
            done.best, done.held = held_db(self.work), held
        self.work.module.load_state_dict(now)

    def _spent(self) -> float:
        """Return the seconds of this run and earlier ones."""
        return self._earlier_s + time.monotonic() - self._began

    def _round(self, rounded: Round) -> None:
        """Round adaptively, if that is better."""
        copy = replace(self.outcome, quantized=copied(self.outcome.quantized))
        found = rounded(copy, self.work.data.training, _ROUNDING_SHARE * self.work.options.time)
        before, first = (self.work, self.outcome), self.progress.best
        self._take(found)
        gained = held_db(self.work)
        self._tell(gained, "adaptive rounding")
        if gained > first:
            self.progress.best = gained
            self.progress.rounding = next(
                ([item.what, item.choice, item.reason] for item in reversed(found.plan.decisions) if item.what == "rounding"),
                None,
            )
        else:
            self.work, self.outcome = before

    def _take(self, outcome: Outcome) -> None:
        """Go on with a graph whose integers are not the nearest."""
        module = GraphModule(outcome.quantized, self.work.floating, outcome.plan, at_integers=True)
        self.work, self.outcome = replace(self.work, module=module), outcome

    def _train_blocks(self, kept: State) -> None:
        """Train block by block; `kept`: the state before."""
        options, done = self.work.options, self.progress

        def after(count: int) -> None:
            done.blocks, done.seconds = count, self._spent()
            self._checkpoint.save(done, kept, self.work.module.state_dict())

        left = _BLOCKS_SHARE * max(options.time - self._spent(), options.time / 4)
        if options.block_steps is None and left < _BLOCKS_FORWARDS * self.work.forward_s:
            done.told.append("no time for training block by block")
            return
        train_blocks(self.work, seconds=left, steps=options.block_steps, first=done.blocks, after=after)
        self._judge(kept, "training block by block")

    def _train_whole(self) -> None:
        """Train the whole network."""
        done, before = self.progress, self._state()

        def after(steps: int, best: float, kept: State) -> None:
            done.steps, done.best, done.seconds = steps, best, self._spent()
            self._checkpoint.save(done, kept)

        options, start = self.work.options, done.best
        if options.steps is None and self._spent() >= options.time:
            done.told.append("no time for steps end to end")
            return
        left = max(options.time - self._spent(), options.time / 8)
        steps = train_whole(self.work, seconds=left, start=start, done=done.steps, after=after)
        done.best = start
        self._judge(before, f"{steps} steps end to end")

    def _ended(self, following: Phase) -> State:
        """Keep the state on disk between two phases, and return it."""
        kept = self._state()
        self.progress.phase, self.progress.seconds = following, self._spent()
        self._checkpoint.save(self.progress, kept, always=True)
        return kept

    def _state(self) -> State:
        return {name: value.clone() for name, value in self.work.module.state_dict().items()}

    def _judge(self, before: State, what: str) -> None:
        """Keep what a phase did, if it is better on held-aside samples; else take it back."""
        gained = held_db(self.work)
        self._tell(gained, what)
        if gained > self.progress.best:
            self.progress.best = gained
        else:
            self.work.module.load_state_dict(before)

    def _tell(self, gained: float, what: str) -> None:
        self.progress.told.append(f"{gained:.1f} by {what}")
        progress.note(f"held-aside outputs: {self.progress.best:.1f} dB, {self.progress.told[-1]}")


def _with_ranges(plan: Plan, quantized: ir.Model) -> Plan:
    """Return the plan with the ranges that the trained scales span."""
    found: dict[str, tuple[float, float]] = {}
    for node in quantized.graph:
        if node.op_type == "QuantizeLinear":
            affine = affine_of(node)
            low, high = limits(affine.dtype, symmetric=plan.scheme.symmetric_activation)
            span = float((low - int(affine.zero)) * affine.scale), float((high - int(affine.zero)) * affine.scale)
            readers = [value.name for reader in node.outputs[0].consumers() for value in reader.outputs]
            for name in (node.inputs[0].name if node.inputs[0] is not None else None, *readers):
                found.setdefault(name or "", span)
    tensors = [
        replace(tensor, low=found[tensor.name][0], high=found[tensor.name][1]) if tensor.name in found else tensor
        for tensor in plan.tensors
    ]
    return replace(plan, tensors=tuple(tensors))
