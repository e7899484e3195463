"""Train the Q/DQ graph that a plan made, with calibration samples and no labels, and put what was learned back into it.

1. The graph becomes a PyTorch module (`graph_module.py`); it must give what onnxruntime gives before a step is made.
2. Weights are rounded as their layers' outputs need it (adaptive rounding), one layer after another.
3. Blocks are trained one after another towards what the floating-point model has at their ends (`block_wise.py`).
4. The whole network is trained towards the floating-point model's outputs (`end_to_end.py`).
5. What was written is compared once more with onnxruntime; a file that does not do what was trained is refused.

After each phase the held-aside samples are looked at; a phase that gains nothing is taken back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir
import torch
from torch import Tensor

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
from edgeopt.quantize.training.checks import check_same
from edgeopt.quantize.training.end_to_end import train_whole
from edgeopt.quantize.training.graph_module import GraphModule
from edgeopt.quantize.training.run import TrainingRun, held_db, prepared_run

_SEED = 0
_BLOCKS_SHARE = 0.6
"""Of the time that adaptive rounding leaves: for training block by block."""

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
        made = _Phases(work, outcome, time.monotonic()).run(rounded)
        if made.best <= made.start:
            warning = f"training for {options.time:g} s gained nothing on {len(work.data.held)} held-aside samples"
            plan = outcome.plan.decided("training", "as calibrated", f"{warning}: {made.start:.1f} dB stay")
            return replace(outcome, plan=plan)
        made.work.module.write()
        check_same(made.work, made.outcome.quantized, when="after training")
    reason = (
        f"held-aside outputs of {made.start:.1f} dB become {made.best:.1f} dB ({', '.join(made.told)}); the file has the "
        "trained weights, the plan alone does not make it again"
    )
    plan = _with_ranges(made.outcome.plan, made.outcome.quantized).decided(
        "training", f"weights, biases and scales, {len(work.data.training)} samples", reason
    )
    return replace(made.outcome, plan=plan)


class _Phases:
    """The phases of one training, and what each gained."""

    def __init__(self, work: TrainingRun, outcome: Outcome, began: float) -> None:
        self.work, self.outcome = work, replace(outcome, quantized=work.module.model)
        self._began = began
        self.start = self.best = held_db(work)
        self.told: list[str] = []

    def run(self, rounded: Round | None) -> _Phases:
        """Run all phases, and return this."""
        options = self.work.options
        if rounded is not None:
            self._round(rounded)
        left = max(options.time - (time.monotonic() - self._began), options.time / 4)
        if options.block_learning_rate:
            state = self._state()
            train_blocks(self.work, seconds=_BLOCKS_SHARE * left, steps=options.block_steps)
            self._judge(state, "training block by block")
        left = max(options.time - (time.monotonic() - self._began), options.time / 8)
        state = self._state()
        steps = train_whole(self.work, seconds=left, start=self.best)
        self._judge(state, f"{steps} steps end to end")
        return self

    def _round(self, rounded: Round) -> None:
        """Round adaptively, if that is better."""
        copy = replace(self.outcome, quantized=copied(self.outcome.quantized))
        found = rounded(copy, self.work.data.training, _ROUNDING_SHARE * self.work.options.time)
        work = replace(self.work, module=GraphModule(found.quantized, self.work.floating, found.plan, at_integers=True))
        gained = held_db(work)
        self.told.append(f"{gained:.1f} by adaptive rounding")
        progress.note(f"held-aside outputs: {self.best:.1f} dB, {self.told[-1]}")
        if gained > self.best:
            self.work, self.outcome, self.best = work, found, gained

    def _state(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.work.module.state_dict().items()}

    def _judge(self, before: dict[str, Tensor], what: str) -> None:
        """Keep what a phase did, if it is better on held-aside samples; else take it back."""
        gained = held_db(self.work)
        self.told.append(f"{gained:.1f} by {what}")
        progress.note(f"held-aside outputs: {self.best:.1f} dB, {self.told[-1]}")
        if gained > self.best:
            self.best = gained
        else:
            self.work.module.load_state_dict(before)


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
