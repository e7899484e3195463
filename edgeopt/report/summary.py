"""One line about each stage, from its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Literal

from edgeopt.bundle.result import BundleResult
from edgeopt.distill.result import DistillFacts
from edgeopt.evaluate.result import VerifyFacts
from edgeopt.export.result import ExportFacts
from edgeopt.models.model_size import ModelSize
from edgeopt.profile.result import GenerationFacts, ProfileResult
from edgeopt.prune.allocation.forecast import Forecast
from edgeopt.prune.result import PruneFacts
from edgeopt.quantize.result import QuantizeFacts
from edgeopt.stages.onnx_import import ImportFacts
from edgeopt.stages.results import StageFacts
from edgeopt.stages.teacher import TeacherFacts
from edgeopt.units import NOT_MEASURED, count, percent, size


def summarise(facts: StageFacts | None) -> str:
    """Return what the stage did, in figures; empty for an unknown stage."""
    return ", ".join(_parts(facts))


def _parts(facts: StageFacts | None) -> Iterator[str]:
    match facts:
        case TeacherFacts():
            return _trained(facts, facts.history)
        case DistillFacts():
            return _distilled(facts)
        case PruneFacts():
            return _prune(facts)
        case ExportFacts():
            return _export(facts)
        case ImportFacts():
            return iter((f"opset {facts.opset}", f"{facts.nodes} nodes", size(facts.size_bytes)))
        case QuantizeFacts():
            return _quantize(facts)
        case VerifyFacts():
            return _verify(facts)
        case ProfileResult():
            return _profile(facts)
        case GenerationFacts():
            return _generation(facts)
        case BundleResult():
            return _bundle(facts)
        case Forecast():
            return iter((f"{len(facts.parts)} parts", *([facts.reason] if facts.reason else [])))
        case None:
            return iter(())


def _trained(model: ModelSize, history: Sequence[object]) -> Iterator[str]:
    yield f"{count(model.parameters)} parameters"
    yield f"{count(model.macs)} MACs"
    if history:
        yield f"{len(history)} epochs"


def _distilled(facts: DistillFacts) -> Iterator[str]:
    yield from _trained(facts.student, facts.history)
    if facts.kept is not None and facts.teacher_score is not None:
        kept = facts.kept
        yield f"{kept.metric} {kept.value:.4f} at step {kept.step:,} (the teacher's {facts.teacher_score:.4f})"
    if facts.trials:
        yield spread(facts)


def spread(facts: DistillFacts) -> str:
    """Return the metric of all students and controls over their seeds: mean, lowest, highest, and what distilling gained."""
    parts: list[str] = []
    means: dict[str, float] = {}
    kinds: tuple[Literal["distilled", "control"], ...] = ("distilled", "control")
    for kind in kinds:
        scores = facts.scores(kind)
        if scores:
            means[kind] = fmean(scores)
            ends = f" ({min(scores):.4f} to {max(scores):.4f} over {len(scores)} seeds)" if len(scores) > 1 else ""
            parts.append(f"{kind} {means[kind]:.4f}{ends}")
    if len(means) == 2:
        parts.append(f"difference {means['distilled'] - means['control']:+.4f}")
    return f"{facts.trials[0].metric}: {', '.join(parts)}"


def _prune(facts: PruneFacts) -> Iterator[str]:
    before, after = facts.before, facts.after
    for old, new, unit in ((before.macs, after.macs, "MACs"), (before.parameters, after.parameters, "parameters")):
        if old:
            yield f"{count(old)} → {count(new)} {unit} ({percent(new / old - 1, 0).replace('-', '−')})"
    changed = [layer for layer in facts.layers if layer.channels_before != layer.channels_after]
    if changed:
        yield f"{len(changed)} layer{'s' if len(changed) > 1 else ''} narrower"
    if facts.spared:
        yield f"stayed whole: {', '.join(facts.spared)}"


def _export(facts: ExportFacts) -> Iterator[str]:
    yield f"opset {facts.opset}"
    yield f"{facts.nodes} nodes"
    yield f"off PyTorch by {facts.parity.relative_error:.1e} at most on {facts.parity.samples} samples"
    yield size(facts.size_bytes)


def _quantize(facts: QuantizeFacts) -> Iterator[str]:
    scheme = facts.scheme
    yield f"activations {scheme.activation}, weights {scheme.weight} {'per channel' if scheme.per_channel else 'per tensor'}"
    yield f"calibrated on {facts.samples} samples"
    if facts.coverage.int8_macs_share is not None:
        yield f"{percent(facts.coverage.int8_macs_share)} of the MACs in int8 kernels"
    elif facts.coverage.quantized_macs_share is not None:
        between = "between" if facts.coverage.promised == "Q/DQ pairs" else "in"
        yield f"{percent(facts.coverage.quantized_macs_share)} of the MACs {between} {facts.coverage.promised}"
    yield f"{size(facts.size_bytes_before)} → {size(facts.size_bytes_after)}"


def _verify(facts: VerifyFacts) -> Iterator[str]:
    yield f"{len(facts.variants)} variants on the same {facts.samples} samples"
    yield facts.reason


def _profile(facts: ProfileResult) -> Iterator[str]:
    runs = [row.n for row in facts.variants]
    if facts.emulated:
        yield f"{len(runs)} variant{'s' if len(runs) > 1 else ''}, {NOT_MEASURED}"
    elif runs:
        yield f"{len(runs)} variants, {min(runs):,} runs or more of each" if len(runs) > 1 else f"{runs[0]:,} runs"
    yield facts.provider
    yield "1 thread" if facts.threads == 1 else f"{facts.threads} threads"


def _generation(facts: GenerationFacts) -> Iterator[str]:
    for model in facts.models:
        first = model.contexts[0]
        yield f"{model.model} {first.tokens_per_s:.1f} tokens/s, first of them after {first.ttft_ms:.0f} ms"
    yield f"prompts of {facts.models[0].contexts[0].context} tokens"


def _bundle(facts: BundleResult) -> Iterator[str]:
    if facts.files:
        yield f"{len(facts.files)} files, {size(sum(file.size_bytes for file in facts.files))}"
    yield "verified" if facts.verified else "not verified"
    if facts.minimum_onnxruntime:
        yield f"onnxruntime {facts.minimum_onnxruntime} or later"
