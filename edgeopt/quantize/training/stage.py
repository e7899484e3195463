"""Train the Q/DQ graph that a plan made, with calibration samples and no labels, and put what was learned back into it.

1. The graph becomes a PyTorch module (`graph_module.py`); it must give what onnxruntime gives before a step is made.
2. AdamW, learning rates in units of each tensor's own step: a rounding flips when a weight moves by half of it. Scales follow
   the LSQ gradients and are frozen for the last fifth, so that weights settle on a grid that stays.
3. Every tenth of the time the held-aside samples are looked at; the best state is kept. If that is the start, nothing changes.
4. What was written is compared once more with onnxruntime; a file that does not do what was trained is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import Tensor

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.errors import InternalError, ModelError
from edgeopt.graph.batch_axes import Axes
from edgeopt.graph.editing import copied
from edgeopt.graph.matching import by_name
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.graph.signature import Signature
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.config import TrainingOptions
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.search.trials import Outcome
from edgeopt.quantize.sqnr import Noise
from edgeopt.quantize.training import objective
from edgeopt.quantize.training.graph_module import GraphModule
from edgeopt.quantize.training.samples import Split, epochs, split, stack, stackable

_SAME_DB = 40.0
_FROZEN_SHARE = 0.2
_LOOKS = 10
_SEED = 0
_STEPS = 127.0  # of the largest weight: the step that weights of layers in floating point are given


@dataclass(frozen=True)
class _Run:
    """What one training needs."""

    module: GraphModule
    teacher: ort.InferenceSession
    outputs: tuple[str, ...]
    wanted: tuple[str, ...]
    """The outputs, and inner tensors where these are compared."""
    data: Split
    axes: Axes | None
    options: TrainingOptions


def trained(prepared: Prepared, outcome: Outcome, samples: Sequence[Batch], options: TrainingOptions) -> Outcome:
    """Return `outcome` with weights and ranges trained (the model is changed in place), or as it was where nothing is gained.

    Args:
        prepared: the floating-point model.
        outcome: a plan, and the Q/DQ graph it makes.
        samples: calibration samples, as the model takes them.
        options: how long, and how.

    Raises:
        ModelError: the graph has operators that cannot be trained through, or PyTorch computes something else than onnxruntime.
    """
    floating = smoothed(prepared.model, outcome.plan)
    before = copied(outcome.quantized)
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        work = _prepared_run(floating, outcome, samples, prepared.signature, options)
        _check_same(work, outcome.quantized, when="before training")
        start, best, steps = _train(work)
        if best <= start:
            warning = f"training for {options.time:g} s gained nothing on {len(work.data.held)} held-aside samples"
            plan = outcome.plan.decided("training", "as calibrated", f"{warning}: {start:.1f} dB stay")
            return replace(outcome, plan=plan, quantized=before)
        work.module.write()
        _check_same(work, outcome.quantized, when="after training")
    reason = (
        f"held-aside outputs of {start:.1f} dB become {best:.1f} dB in {steps} steps; the file has the trained weights, "
        "the plan alone does not make it again"
    )
    plan = _with_ranges(outcome.plan, outcome.quantized).decided(
        "training", f"weights, biases and scales, {len(work.data.training)} samples", reason
    )
    return replace(outcome, plan=plan)


def _prepared_run(
    floating: ir.Model, outcome: Outcome, samples: Sequence[Batch], signature: Signature, options: TrainingOptions
) -> _Run:
    module = GraphModule(outcome.quantized, floating, outcome.plan)
    outputs = objective.outputs_of(floating)
    if not outputs:
        raise ModelError("no output of the model is a floating-point tensor, so there is nothing to train towards")
    there = by_name(outcome.quantized.graph)
    inner = [name for name in objective.residual_sums(floating) if name in there] if options.inner_weight else []
    wanted = list(dict.fromkeys([*outputs, *inner]))
    teacher = open_exposed(floating, inner, threads=torch.get_num_threads())
    axes = stackable(signature)
    work = _Run(module, teacher, tuple(outputs), tuple(wanted), split(samples, seed=_SEED), axes, options)
    return work if _stacks(work) else replace(work, axes=None)


def _stacks(work: _Run) -> bool:
    """Return whether two samples have the same outputs together as alone: a model may have its batch size in its constants."""
    first = work.data.training[0]
    if work.axes is None:
        return False
    try:
        twice = run(work.teacher, work.outputs, stack([first, first], work.axes), sample=0)
        once = run(work.teacher, work.outputs, first, sample=0)
    except Exception:  # noqa: BLE001  (whatever onnxruntime says: it does not take two)
        return False
    return all(
        twice[name].shape == (2 * value.shape[0], *value.shape[1:])
        and np.allclose(twice[name][: len(value)], value, 1e-3, 1e-4)
        for name, value in once.items()
        if value.ndim
    )


# training


def _train(work: _Run) -> tuple[float, float, int]:
    """Train until the time is over; return the SQNR on held-aside samples at the start, at the best, and the steps made."""
    options, module = work.options, work.module
    optimizer = torch.optim.AdamW(_groups(module, options), weight_decay=0.0)
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    start = best = _held_db(work)
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    began, steps, looked = time.monotonic(), 0, 0
    batches = epochs(work.data.training, work.axes, options.batch_size, seed=_SEED)
    with progress.task("train through the quantizer", total=100) as advance:
        shown, share = 0, 0.0
        while share < 1:
            optimizer.zero_grad()
            _accumulate(work, batches)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * share)) * min(1.0, (steps + 1) / 10)
            torch.nn.utils.clip_grad_norm_(module.parameters(), options.max_gradient_norm)
            optimizer.step()
            steps += 1
            share = max((time.monotonic() - began) / options.time, steps / options.steps if options.steps else 0.0)
            if share > 1 - _FROZEN_SHARE:
                for grid in module.grids:
                    grid.ratio.requires_grad = False
                    grid.ratio.grad = None
            advance(min(int(100 * share), 100) - shown)
            shown = min(int(100 * share), 100)
            if share * _LOOKS >= looked + 1 or share >= 1:
                looked = int(share * _LOOKS)
                found = _held_db(work)
                if found > best:
                    best, kept = found, {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(kept)
    return start, best, steps


def _groups(module: GraphModule, options: TrainingOptions) -> list[dict[str, object]]:
    """Return each parameter with a learning rate in units of its own step."""
    steps = {id(weight): float(grid.start.mean()) for weight, grid in module.rounded_weights()}
    groups: list[dict[str, object]] = []
    for weight in module.weights:
        step = steps.get(id(weight)) or float(weight.detach().abs().max()) / _STEPS
        groups.append({"params": [weight], "lr": options.learning_rate * step})
    for bias in module.rounded_biases():
        spread = float(bias.values.detach().abs().mean()) or 1e-3
        groups.append({"params": [bias.values], "lr": options.learning_rate * spread / _STEPS})
    groups.append({"params": [grid.ratio for grid in module.grids], "lr": options.scale_learning_rate})
    return groups


def _accumulate(work: _Run, batches: Iterator[tuple[Batch, int]]) -> None:
    """Sum the gradients of at least `batch_size` samples, each sample with the same weight."""
    wanted = 0
    while wanted < work.options.batch_size:
        batch, count = next(batches)
        made = work.module(_tensors(batch), frozenset(work.wanted))
        parts = objective.loss(made, _targets(work, batch), work.outputs, work.options.inner_weight)
        total = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(total):
            bad = next(name for name, part in parts.items() if not torch.isfinite(part))
            raise ModelError(f"training: the loss part '{bad}' is not finite; lower [quantize.train] learning_rate")
        torch.autograd.backward(total * (count / work.options.batch_size))
        wanted += count


def _targets(work: _Run, batch: Batch) -> dict[str, Tensor]:
    found = run(work.teacher, work.wanted, batch, sample=0)
    return {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in found.items()}


def _tensors(batch: Batch) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(values)) for name, values in batch.items()}


def _held_db(work: _Run) -> float:
    """Return the SQNR of the worst output on the held-aside samples."""
    noises = {name: Noise() for name in work.outputs}
    with torch.no_grad():
        for sample in work.data.held:
            made: dict[str, Tensor] = work.module(_tensors(sample))
            for name, values in _targets(work, sample).items():
                if name in noises:
                    noises[name].add(values.numpy(), made[name].numpy())
    return min(noise.db for noise in noises.values())


# checks


def _check_same(work: _Run, quantized: ir.Model, *, when: str) -> float:
    """Return the SQNR between the module and onnxruntime on the Q/DQ graph; raise where an operator computes something else.

    In a deep network a single value that is rounded the other way, since float32 sums differ in their last bit, moves all that
    follow, until the two differ by as much as rounding itself does; onnxruntime's own optimized and unoptimized sessions do,
    too. So where the outputs part, each operator is looked at alone, with onnxruntime's values as its inputs.
    """
    names = [value.name for node in quantized.graph for value in node.outputs if value.name and _compared(value, node)]
    session = open_exposed(quantized, names, threads=torch.get_num_threads(), optimize=False)
    together = min(_outputs_noise(work, session).values(), key=lambda noise: noise.db).db
    if together >= _SAME_DB:
        return together
    sample = work.data.held[0]
    exact = {name: torch.from_numpy(np.array(value)) for name, value in run(session, names, sample, sample=0).items()}
    with torch.no_grad():
        for name, made in work.module.each(_tensors(sample), exact):
            noise = Noise()
            if made.shape == exact[name].shape:
                noise.add(exact[name].numpy(), made.numpy())
            if made.shape != exact[name].shape or noise.db < _SAME_DB:
                message = f"{when}, PyTorch and onnxruntime part at '{name}' ({noise.db:.1f} dB, shape {list(made.shape)})"
                if when.startswith("after"):
                    raise InternalError(f"{message}; please report it with the model")
                raise ModelError(f"{message}; leave --train out")
    return together


def _outputs_noise(work: _Run, session: ort.InferenceSession) -> dict[str, Noise]:
    """Return how far the module's outputs are from those of a session, on held-aside samples."""
    noises = {name: Noise() for name in work.outputs}
    with torch.no_grad():
        for number, sample in enumerate(work.data.held[:16]):
            made = work.module(_tensors(sample))
            for name, exact in run(session, work.outputs, sample, sample=number).items():
                noises[name].add(exact, made[name].numpy())
    return noises


def _compared(value: ir.Value, node: ir.Node) -> bool:
    """Return whether both keep the tensor in the same form: not the integers of a QuantizeLinear."""
    return node.op_type != "QuantizeLinear" and value.dtype in {ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.INT32}


def _with_ranges(plan: Plan, quantized: ir.Model) -> Plan:
    """Return the plan with the ranges that the trained scales span."""
    from edgeopt.quantize.affine import limits
    from edgeopt.quantize.apply.bias import affine_of

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
