"""One line about each stage, from its facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgeopt.report.facts import Facts
from edgeopt.report.units import count, percent, size


def summarise(facts: Facts) -> str:
    """Return what the stage did, in figures; empty for an unknown stage."""
    summary = _SUMMARIES.get(facts.where.split("-")[0])
    return ", ".join(summary(facts)) if summary else ""


def _trained(facts: Facts) -> Iterator[str]:
    if (parameters := facts.integer("parameters")) is not None:
        yield f"{count(parameters)} parameters"
    if (macs := facts.integer("macs")) is not None:
        yield f"{count(macs)} MACs"
    if history := facts.rows("history"):
        yield f"{len(history)} epochs"


def _prune(facts: Facts) -> Iterator[str]:
    for key, unit in (("macs", "MACs"), ("parameters", "parameters")):
        before, after = facts.integer(f"{key}_before"), facts.integer(f"{key}_after")
        if before and after is not None:
            yield f"{count(before)} → {count(after)} {unit} ({percent(after / before - 1, 0).replace('-', '−')})"
    changed = [row for row in facts.rows("layers") if row.integer("channels_before") != row.integer("channels_after")]
    if changed:
        yield f"{len(changed)} layer{'s' if len(changed) > 1 else ''} narrower"


def _export(facts: Facts) -> Iterator[str]:
    if (opset := facts.integer("opset")) is not None:
        yield f"opset {opset}"
    if (nodes := facts.integer("nodes")) is not None:
        yield f"{nodes} nodes"
    if (error := facts.table("parity").number("relative_error")) is not None:
        yield f"largest error {error:.1e} compared with PyTorch on {facts.table('parity').integer('samples') or 0} samples"
    if (bytes_ := facts.integer("size_bytes")) is not None:
        yield size(bytes_)


def _quantize(facts: Facts) -> Iterator[str]:
    scheme = facts.table("scheme")
    if activation := scheme.text("activation"):
        channel = "per channel" if scheme.flag("per_channel") else "per tensor"
        yield f"activations {activation}, weights {scheme.text('weight') or '?'} {channel}"
    if (samples := facts.integer("samples")) is not None:
        yield f"calibrated on {samples} samples"
    if (share := facts.table("coverage").number("int8_macs_share")) is not None:
        yield f"{percent(share)} of the MACs in int8 kernels"
    before, after = facts.integer("size_bytes_before"), facts.integer("size_bytes_after")
    if before is not None and after is not None:
        yield f"{size(before)} → {size(after)}"


def _verify(facts: Facts) -> Iterator[str]:
    if (samples := facts.integer("samples")) is not None:
        yield f"{len(facts.rows('variants'))} variants on the same {samples} samples"
    if reason := facts.text("reason"):
        yield reason


def _profile(facts: Facts) -> Iterator[str]:
    runs = [row.integer("n") or 0 for row in facts.rows("variants")]
    if runs:
        yield f"{len(runs)} variants, {min(runs):,} runs or more of each" if len(runs) > 1 else f"{runs[0]:,} runs"
    if provider := facts.text("provider"):
        yield provider
    if threads := facts.integer("threads"):
        yield "1 thread" if threads == 1 else f"{threads} threads"


def _bundle(facts: Facts) -> Iterator[str]:
    files = facts.rows("files")
    if files:
        yield f"{len(files)} files, {size(sum(row.integer('size_bytes') or 0 for row in files))}"
    if facts.flag("verified") is not None:
        yield "verified" if facts.flag("verified") else "not verified"
    if least := facts.text("minimum_onnxruntime"):
        yield f"onnxruntime {least} or later"


_SUMMARIES: dict[str, Callable[[Facts], Iterator[str]]] = {
    "teacher": _trained,
    "distill": _trained,
    "prune": _prune,
    "export": _export,
    "import": _export,
    "quantize": _quantize,
    "verify": _verify,
    "profile": _profile,
    "bundle": _bundle,
}
