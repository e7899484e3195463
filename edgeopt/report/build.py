"""Gather the results of all stages into one report. Any stage may be missing: an ONNX file from elsewhere has no teacher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from edgeopt import __version__
from edgeopt.evaluate.result import VariantAccuracy, VerifyFacts
from edgeopt.export.result import ExportFacts
from edgeopt.interval import Interval
from edgeopt.metric import ACCURACY
from edgeopt.profile.result import ProfileResult
from edgeopt.prune.result import PruneFacts
from edgeopt.quantize.result import QuantizeFacts
from edgeopt.report.gather_profile import baseline, executions, roof, speed
from edgeopt.report.model import (
    SCHEMA_VERSION,
    Conditions,
    PairedModels,
    Report,
    StageDecision,
    StageRow,
    TrainingEpoch,
    Variant,
    Warned,
)
from edgeopt.report.record import RunRecord
from edgeopt.report.results import Results
from edgeopt.report.summary import summarise
from edgeopt.roles import Role, role_of
from edgeopt.stages.results import StageFacts
from edgeopt.verdict.evidence import Evidence, ExportParity, ModelFigures, Shrinkage
from edgeopt.verdict.findings import Answer
from edgeopt.verdict.run import judge


def build_report(run: RunRecord) -> Report:
    """Return the report on `run`.

    Raises:
        DataError: a stage's facts hold a value of the wrong type; the message names stage and key.
    """
    results = Results.of(run.stages)
    variants = tuple(_variants(results))
    quantize, verify, profile, bundle = results.quantize, results.verify, results.profile, results.bundle
    return Report(
        schema_version=SCHEMA_VERSION,
        edgeopt=run.versions.get("edgeopt", __version__),
        name=run.name,
        target=run.target,
        verdict=judge(evidence_of(results, variants), allow_worse=bool(run.recipe.get("allow_worse"))),
        variants=variants,
        stages=tuple(
            StageRow(stage.stage, stage.status, stage.seconds, stage.key, summarise(results.stages.get(stage.stage)))
            for stage in run.stages
        ),
        conditions=_conditions(run, results),
        epochs=tuple(_epochs(results)),
        partings=verify.divergence if verify else (),
        executions=tuple(executions(profile)) if profile else (),
        generations=results.generation.models if results.generation else (),
        layers=quantize.layers if quantize else (),
        sensitivity=quantize.sensitivity if quantize else (),
        pairs=tuple(_pairs(verify)),
        baseline=baseline(profile),
        roof=roof(profile) if profile else None,
        int8_macs_share=quantize.coverage.int8_macs_share if quantize else None,
        islands=quantize.coverage.islands if quantize else (),
        warnings=tuple(_warnings(run, results)),
        decisions=_decisions(quantize),
        bundle_sha256=bundle.sha256 if bundle else None,
        files=bundle.files if bundle else (),
        recipe=run.recipe,
    )


def evidence_of(results: Results, variants: Sequence[Variant]) -> Evidence:
    """Return what the verdict rests on."""
    verify = results.verify
    whole = Answer(verify.whole_verdict, verify.whole_reason or "") if verify and verify.whole_verdict else None
    return Evidence(
        measured=bool(results.quantize or verify or results.profile or results.generation),
        models=[_figures(variant) for variant in variants],
        metric=verify.kind if verify else ACCURACY,
        shrinkage=_shrinkage(results.prune),
        quantized_accuracy=Answer(verify.verdict, verify.reason) if verify else None,
        whole_accuracy=whole,
        budgets=(
            *(results.profile.budgets if results.profile else ()),
            *(found for model in (results.generation.models if results.generation else ()) for found in model.budgets),
        ),
        rates={model.model: model.contexts[0].tokens_per_s for model in results.generation.models}
        if results.generation
        else {},
        parities={
            name: ExportParity(facts.parity.passed, facts.parity.relative_error, facts.parity.tolerance)
            for name, facts in results.exports.items()
        },
        bundle_verified=results.bundle.verified if results.bundle else None,
    )


def _shrinkage(prune: PruneFacts | None) -> Shrinkage | None:
    if prune is None:
        return None
    before, after = prune.before, prune.after
    return Shrinkage(before.macs, after.macs, before.parameters, after.parameters)


def _figures(variant: Variant) -> ModelFigures:
    middle = variant.speed.latency_ms.get("p50") if variant.speed else None
    return ModelFigures(
        name=variant.name,
        role=variant.role,
        accuracy=variant.accuracy.value if variant.accuracy else None,
        size_bytes=variant.size_bytes,
        p50_ms=middle.value if middle else None,
        speedup=variant.speed.speedup if variant.speed else None,
        decision=variant.speed.decision if variant.speed else None,
    )


def _variants(results: Results) -> Iterator[Variant]:
    """Yield the variants of the model in the order they were made, each with the results of all stages."""
    found: dict[str, Variant] = {}
    if results.verify:
        confidence = results.verify.confidence
        found = {row.name: _verified(row, confidence) for row in results.verify.variants}
    else:
        for name, (size, _) in results.trained().items():
            sizes = (size.size_bytes, size.parameters, size.macs)
            found[name] = Variant(name, name, None, None, *sizes, role=role_of(name))
    if results.quantize:
        roles = {variant.role for variant in found.values()}
        for name, size_bytes in (("fp32", results.quantize.size_bytes_before), ("int8", results.quantize.size_bytes_after)):
            if role_of(name) not in roles:
                found[name] = Variant(name, "quantize", size_bytes=size_bytes, role=role_of(name))
    for row in results.profile.variants if results.profile else ():
        variant = found.get(row.name, Variant(row.name, "profile", role=role_of(row.name)))
        own = speed(row, results.profile) if results.profile else None
        found[row.name] = replace(variant, speed=own, size_bytes=variant.size_bytes or row.size_bytes)
    yield from found.values()


def _verified(row: VariantAccuracy, confidence: float) -> Variant:
    return Variant(
        name=row.name,
        stage=row.stage,
        accuracy=None if row.accuracy is None else Interval(row.accuracy, row.low, row.high, confidence),
        agreement=row.agreement,
        size_bytes=row.size_bytes,
        parameters=row.parameters,
        macs=row.macs,
        role=row.role,
        distances=row.distances,
    )


def _pairs(verify: VerifyFacts | None) -> Iterator[PairedModels]:
    """Yield the quantized model against the baseline, then against the first model where that is another one."""
    rows = {row.role: row for row in verify.variants} if verify else {}
    before, last = rows.get(Role.BASELINE), rows.get(Role.QUANTIZED)
    if verify is None or before is None or last is None:
        return
    first = verify.variants[0]
    if verify.quantized:
        yield PairedModels(last.name, before.name, verify.quantized)
    if last.paired and first is not before:
        yield PairedModels(last.name, first.name, last.paired)


def _conditions(run: RunRecord, results: Results) -> Conditions:
    profile, verify = results.profile, results.verify
    return Conditions(
        device=(profile.device if profile else None) or run.device,
        versions={**run.versions, **(profile.versions if profile else {})},
        provider=profile.provider if profile else None,
        threads=profile.threads if profile else None,
        metric=verify.metric if verify else ACCURACY.name,
        evaluation_samples=verify.samples if verify else None,
        calibration_samples=results.quantize.samples if results.quantize else None,
        scale=verify.scale if verify else ACCURACY.scale,
        larger_is_better=verify.larger_is_better if verify else True,
    )


def _epochs(results: Results) -> Iterator[TrainingEpoch]:
    for name, (_, history) in results.trained().items():
        yield from (TrainingEpoch(name, epoch.epoch, epoch.loss, epoch.accuracy) for epoch in history)
        evaluations = results.evaluations(name)
        steps = max((one.step for one in evaluations), default=0) or 1
        for one in evaluations:
            place = max(1, round(one.step / steps * len(history)))
            yield TrainingEpoch(name, place, None, one.value)


def _warnings(run: RunRecord, results: Results) -> Iterator[Warned]:
    for stage in run.stages:
        texts = [*stage.warnings, *_own_warnings(results.stages.get(stage.stage))]
        yield from (Warned(stage.stage, text) for text in dict.fromkeys(texts))


def _own_warnings(facts: StageFacts | None) -> Sequence[str]:
    return facts.warnings if isinstance(facts, ExportFacts | QuantizeFacts | VerifyFacts | ProfileResult) else ()


def _decisions(quantize: QuantizeFacts | None) -> tuple[StageDecision, ...]:
    found = quantize.decisions if quantize else ()
    return tuple(StageDecision("quantize", decision.what, decision.choice, decision.reason) for decision in found)
