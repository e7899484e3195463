"""The table of the variants, as text: the same cells in Markdown, on the terminal and in HTML."""

from __future__ import annotations

from collections.abc import Iterator

from edgeopt import units
from edgeopt.report.figure import conditions
from edgeopt.report.model import Report, Variant
from edgeopt.roles import Role

_FIGURES = ("agrees", "size", "parameters", "MACs", "p50", "p90", "p95", "speed-up", "peak memory")

EXECUTION_COLUMNS = (
    "model",
    "p50",
    "floor",
    "p50 / floor",
    "MACs in int8",
    "time in conversions",
    "partitions",
    "fallback to CPU",
    "error against CPU",
)


GENERATION_COLUMNS = (
    "model",
    "prompt",
    "first token",
    "prefill tokens/s",
    "decode tokens/s",
    "p50 / p95 / p99 between tokens",
    "memory",
    "cache",
    "of the bandwidth's limit",
)


def table_title(report: Report) -> str:
    """Return the title of the table of variants; a profile may be of models that have nothing in common."""
    return "The models" if all(item.stage == "profile" for item in report.variants) else "The model, step by step"


def columns(report: Report) -> tuple[str, ...]:
    """Return the head of the table of variants; the second column is the task's metric."""
    return ("model", report.conditions.metric, *_distances(report), *_FIGURES)


def variant_rows(report: Report) -> list[tuple[str, ...]]:
    """Return one row of `columns` for each variant."""
    return [_row(variant, report) for variant in report.variants]


def _distances(report: Report) -> list[str]:
    """Return the names of the distances from the variant before, such as KL, that any variant has."""
    return list(dict.fromkeys(name for variant in report.variants for name in variant.distances))


def known_columns(report: Report) -> list[int]:
    """Return the indices of the `columns` that have values."""
    rows = variant_rows(report)
    return [index for index in range(len(columns(report))) if any(row[index] != units.NONE for row in rows)]


def _row(variant: Variant, report: Report) -> tuple[str, ...]:
    speed = variant.speed
    return (
        variant.name,
        report.conditions.kind.interval(variant.accuracy),
        *(
            f"{max(0.0, variant.distances[name]):.4f}" if name in variant.distances else units.NONE
            for name in _distances(report)
        ),
        units.percent(variant.agreement),
        units.size(variant.size_bytes),
        units.count(variant.parameters),
        units.count(variant.macs),
        latency(variant, "p50"),
        latency(variant, "p90"),
        latency(variant, "p95"),
        units.times_interval(speed.speedup) if speed else units.NONE,
        units.size(speed.peak_rss_bytes) if speed else units.NONE,
    )


def latency(variant: Variant, statistic: str) -> str:
    """Return a latency with its interval, or the number of missing runs."""
    if variant.speed is None:
        return units.NONE
    if variant.speed.emulated:
        return units.NOT_MEASURED if statistic == "p50" else units.NONE
    if statistic not in variant.speed.latency_ms and statistic in variant.speed.withheld:
        return f"needs {variant.speed.withheld[statistic]} runs"
    value = variant.speed.latency_ms.get(statistic)
    return f"{units.milliseconds_interval(value)}{' (busy)' if value and variant.speed.busy else ''}"


def execution_rows(report: Report) -> list[tuple[str, ...]]:
    """Return one row of `EXECUTION_COLUMNS` for each variant that was profiled."""
    return [
        (
            row.name,
            units.milliseconds(row.p50_ms),
            units.milliseconds(row.floor_ms),
            units.times(row.p50_ms / row.floor_ms if row.p50_ms and row.floor_ms else None),
            units.percent(row.int8_macs_share),
            units.percent(row.conversion_share),
            units.NONE if row.partitions is None else str(row.partitions),
            units.percent(row.cpu_fallback_share),
            units.percent(row.relative_error, 2),
        )
        for row in report.executions
    ]


def generation_rows(report: Report) -> list[tuple[str, ...]]:
    """Return one row of `GENERATION_COLUMNS` for each language model and length of the prompt."""
    return [
        (
            model.model,
            f"{row.context:,}",
            units.milliseconds(row.ttft_ms),
            f"{row.prefill_tokens_per_s:.0f}",
            f"{row.tokens_per_s:.1f}",
            f"{row.inter_token_p50_ms:.1f} / {row.inter_token_p95_ms:.1f} / {row.inter_token_p99_ms:.1f} ms",
            units.size(row.rss_bytes),
            units.size(row.cache_bytes),
            f"{units.percent(row.share_of_limit, 0)} of {row.limit_tokens_per_s:.0f}",
        )
        for model in report.generations
        for row in model.contexts
    ]


def generation_line(report: Report) -> str:
    """Return how the limit of decoding comes about: bytes per token against the memory's measured bandwidth."""
    parts = []
    for model in report.generations:
        first = model.contexts[0]
        cache = first.bytes_per_token - model.weight_bytes
        parts.append(
            f"{model.model} reads {units.size(model.weight_bytes)} of weights and, after {first.context:,} tokens, "
            f"{units.size(cache)} of cache for each token"
        )
    last = report.generations[-1]
    rate = f"{last.bandwidth_bytes_per_s / 1e9:.1f} GB/s measured with {last.threads} thread{'s' if last.threads > 1 else ''}"
    samples = min(row.samples for model in report.generations for row in model.contexts)
    return f"{'; '.join(parts)}. The limit is the memory's bandwidth, {rate}. {samples} tokens or more of each."


def device_rows(report: Report) -> list[tuple[str, str]]:
    """Return the description of the device: sizes with units, long lists (a processor's features) by their length."""
    return [
        (key.removesuffix("_bytes").replace("_", " "), _device_value(key, value))
        for key, value in report.conditions.device.items()
        if value is not None
    ]


def _device_value(key: str, value: object) -> str:
    if key.endswith("_bytes") and isinstance(value, int | float):
        return units.size(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) if len(value) <= 8 else f"{len(value)} (listed in report.json)"
    return str(value)


def conditions_line(report: Report) -> str:
    """Return the line above the table: metric, samples, runs, provider, threads, confidence."""
    runs = [variant.speed.runs for variant in report.variants if variant.speed and variant.speed.runs]
    confidence = [
        interval.confidence
        for variant in report.variants
        for interval in (variant.accuracy, *(variant.speed.latency_ms.values() if variant.speed else ()))
        if interval and interval.confidence
    ]
    samples = report.conditions.evaluation_samples
    parts = [
        f"{report.conditions.metric} on {samples:,} samples"
        if samples and any(item.accuracy for item in report.variants)
        else None,
        f"latency over {min(runs):,} runs or more" if runs else None,
        conditions(report) or None,
        f"intervals at {units.percent(min(confidence), 0)}" if confidence else None,
        f"speed-up over {report.baseline}" if any(item.speed and item.speed.speedup for item in report.variants) else None,
    ]
    text = ", ".join(part for part in parts if part)
    first = f"{text[:1].upper()}{text[1:]}." if text else ""
    return " ".join(part for part in (first, _origins(report), *_pairs(report)) if part)


def _pairs(report: Report) -> Iterator[str]:
    """Yield a sentence for each pair of models: the difference on the same samples, its interval, and the changed answers."""
    for pair in report.pairs:
        found = pair.found
        how = "McNemar's exact test" if found.method == "mcnemar" else "bootstrap of pairs"
        metric = report.conditions.kind
        yield (
            f"{pair.name} against {pair.against} on the same {found.samples:,}: {metric.difference(found.difference)} of "
            f"{metric.name} ({metric.ends(found.low, found.high)}), {found.changed:,} answers changed, "
            f"p = {found.p_value:.2g} ({how})."
        )


def _origins(report: Report) -> str:
    """Return a sentence on which rows are one model in two forms: PyTorch's, and its ONNX export, which is timed."""
    trained = [variant for variant in report.variants if variant.role in {Role.TEACHER, Role.STUDENT, Role.PRUNED}]
    fp32 = report.of(Role.BASELINE)
    if not trained or fp32 is None or fp32.stage != "export":
        return ""
    timed = [variant.name for variant in trained if variant.speed]
    text = f"{fp32.name} is {trained[-1].name} exported to ONNX"
    return f"{text}; latencies of {' and '.join(timed)} are also those of their exports." if timed else f"{text}."
