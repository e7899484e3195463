"""Gather the results of all stages into one report. Any stage may be missing: an ONNX file from elsewhere has no teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgeopt import __version__
from edgeopt.report.facts import Facts
from edgeopt.report.gather_profile import baseline, executions, roof, speed
from edgeopt.report.model import (
    SCHEMA_VERSION,
    Conditions,
    Decision,
    Epoch,
    File,
    Interval,
    Island,
    LayerNoise,
    Parting,
    Report,
    StageRow,
    Variant,
    Warned,
)
from edgeopt.report.record import RunRecord
from edgeopt.report.summary import summarise
from edgeopt.verdict.run import BASELINE, QUANTIZED, judge

_TRAINED = ("teacher", "distill", "prune")


def build_report(run: RunRecord) -> Report:
    """Return the report on `run`.

    Raises:
        DataError: a stage's facts hold a value of the wrong type; the message names stage and key.
    """
    stages = {stage.stage: Facts(stage.facts, stage.stage) for stage in run.stages}
    empty = Facts({}, "")
    verify, profile, quantize = (stages.get(name, empty) for name in ("verify", "profile", "quantize"))
    bundle = stages.get("bundle", empty)
    variants = tuple(_variants(stages))
    coverage = quantize.table("coverage")
    recipe = Facts(run.recipe, "recipe")
    return Report(
        schema_version=SCHEMA_VERSION,
        edgeopt=run.versions.get("edgeopt", __version__),
        name=run.name,
        target=run.target,
        verdict=judge(stages, variants, allow_worse=bool(recipe.flag("allow_worse"))),
        variants=variants,
        stages=tuple(
            StageRow(stage.stage, stage.status, stage.seconds, stage.key, summarise(stages[stage.stage]))
            for stage in run.stages
        ),
        conditions=_conditions(run, verify, profile, quantize),
        epochs=tuple(_epochs(stages)),
        partings=tuple(_partings(verify)),
        executions=tuple(executions(profile)),
        layers=tuple(_layers(quantize, "layers")),
        sensitivity=tuple(_layers(quantize, "sensitivity")),
        baseline=baseline(profile),
        roof=roof(profile),
        int8_macs_share=coverage.number("int8_macs_share"),
        islands=tuple(Island(*(row.text(key) or "?" for key in ("node", "op", "reason"))) for row in coverage.rows("islands")),
        warnings=tuple(_warnings(run, stages)),
        decisions=tuple(_decisions(stages)),
        bundle_sha256=bundle.text("sha256"),
        files=tuple(
            File(row.text("path") or "?", row.text("sha256") or "?", row.integer("size_bytes") or 0)
            for row in bundle.rows("files")
        ),
        recipe=run.recipe,
    )


def _variants(stages: Mapping[str, Facts]) -> Iterator[Variant]:
    """Yield the variants of the model in the order they were made, each with the results of all stages."""
    found: dict[str, Variant] = {}
    if "verify" in stages:
        confidence = stages["verify"].number("confidence")
        found = {variant.name: variant for row in stages["verify"].rows("variants") for variant in [_verified(row, confidence)]}
    else:
        found = {name: _trained(name, stages[name]) for name in _TRAINED if name in stages}
    if "quantize" in stages:
        for name, key in ((BASELINE, "size_bytes_before"), (QUANTIZED, "size_bytes_after")):
            found.setdefault(name, Variant(name, "quantize", size_bytes=stages["quantize"].integer(key)))
    profile = stages.get("profile", Facts({}, ""))
    for row in profile.rows("variants"):
        name = row.text("name") or "?"
        variant = found.get(name, Variant(name, "profile"))
        found[name] = replace(variant, speed=speed(row, profile), size_bytes=variant.size_bytes or row.integer("size_bytes"))
    yield from found.values()


def _verified(row: Facts, confidence: float | None) -> Variant:
    name, value = row.text("name") or "?", row.number("accuracy")
    return Variant(
        name=name,
        stage=row.text("stage") or name,
        accuracy=None if value is None else Interval(value, row.number("low"), row.number("high"), confidence),
        agreement=row.number("agreement"),
        size_bytes=row.integer("size_bytes"),
        parameters=row.integer("parameters"),
        macs=row.integer("macs"),
    )


def _trained(name: str, facts: Facts) -> Variant:
    """Return a trained variant that no stage verified."""
    value = facts.number("accuracy")
    return Variant(
        name=name,
        stage=name,
        accuracy=None if value is None else Interval(value),
        size_bytes=facts.integer("size_bytes"),
        parameters=facts.integer("parameters"),
        macs=facts.integer("macs"),
    )


def _conditions(run: RunRecord, verify: Facts, profile: Facts, quantize: Facts) -> Conditions:
    return Conditions(
        device=profile.table("device").values or run.device,
        versions={**run.versions, **{key: str(value) for key, value in profile.table("versions").values.items()}},
        provider=profile.text("provider"),
        threads=profile.integer("threads"),
        metric=verify.text("metric") or "accuracy",
        evaluation_samples=verify.integer("samples"),
        calibration_samples=quantize.integer("samples"),
    )


def _epochs(stages: Mapping[str, Facts]) -> Iterator[Epoch]:
    for name in _TRAINED:
        for index, row in enumerate(stages[name].rows("history") if name in stages else []):
            epoch = row.integer("epoch")
            yield Epoch(name, index + 1 if epoch is None else epoch, row.number("loss"), row.number("accuracy"))


def _partings(verify: Facts) -> Iterator[Parting]:
    for row in verify.rows("divergence"):
        errors = (row.number("max_abs_error"), row.number("relative_error"))
        yield Parting(row.text("from") or "?", row.text("to") or "?", *errors, row.text("first_tensor"))


def _layers(quantize: Facts, key: str) -> Iterator[LayerNoise]:
    for row in quantize.rows(key):
        noise = row.number("sqnr_db")
        if noise is not None:
            yield LayerNoise(row.text("name") or "?", row.text("op") or "?", noise, row.number("metric_drop"))


def _warnings(run: RunRecord, stages: Mapping[str, Facts]) -> Iterator[Warned]:
    for stage in run.stages:
        texts = [*stage.warnings, *stages[stage.stage].texts("warnings")]
        yield from (Warned(stage.stage, text) for text in dict.fromkeys(texts))


def _decisions(stages: Mapping[str, Facts]) -> Iterator[Decision]:
    for name, facts in stages.items():
        for row in facts.rows("decisions"):
            yield Decision(name, *(row.text(key) or "?" for key in ("what", "choice", "reason")))
