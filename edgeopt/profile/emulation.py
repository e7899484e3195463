"""Profiles on emulators: placement, coverage, outputs and instruction counts. Never latency or memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Batch
from edgeopt.errors import MachineError
from edgeopt.graph import files
from edgeopt.graph.macs import count_macs
from edgeopt.profile.instructions import count_instructions, why_not
from edgeopt.profile.judging import Judge
from edgeopt.profile.placement import CPU, all_on_cpu, quantized_macs_share, read_placement, taken_nodes
from edgeopt.profile.result import Numerics, Placement, ProfileResult, VariantProfile
from edgeopt.targets.outputs import fetch_outputs
from edgeopt.targets.replies import Hello, Opened
from edgeopt.targets.requests import Sent, find_partitions, open_variant
from edgeopt.targets.runner import Runner
from edgeopt.targets.target import Target
from edgeopt.targets.transports import Connection
from edgeopt.targets.transports.local import this_machine
from edgeopt.verdict.sequential import overall

_FAR_APART = 0.05
_NO_TIME = "an emulator: placement, numerics and counts only, no time and no memory was measured"

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Emulation:
    """A running emulator."""

    connection: Connection
    runner: Runner
    target: Target
    hello: Hello
    batch: Batch
    """The first batch of inputs."""
    instruction_runs: int = 0
    """Extra runs for counting instructions; 0: do not count."""


def examine(emulation: Emulation, sent: Mapping[str, Sent], models: Mapping[str, Path], judge: Judge) -> ProfileResult:
    """Return the emulator's results for `models`; latency budgets stay undecided."""
    hello, target = emulation.hello, emulation.target
    opened: list[Opened] = []
    notes: list[str] = []
    variants = []
    for name, path in models.items():
        opened.append(open_variant(emulation.runner, name, sent[name]))
        counted = _count(emulation, name, sent[name])
        notes += counted.notes
        variants.append(_variant(emulation, name, path, sent[name], counted.per_run))
    judgements = judge.unmeasured({variant.name: _figures(variant) for variant in variants}, "an emulator's times mean nothing")
    return ProfileResult(
        target=target.name,
        provider=opened[-1].providers[0],
        threads=target.provider.threads,
        device=dict(hello.device),
        versions=dict(hello.versions),
        seconds=0.0,
        elapsed_s=0.0,
        overhead_ns=hello.overhead_ns,
        batches=opened[-1].batches,
        call=opened[-1].call,
        variants=variants,
        comparisons=[],
        budgets=judgements,
        verdict=overall(judgements),
        emulated=True,
        conditions=None,
        warnings=[_NO_TIME, *dict.fromkeys(notes), *_warnings(variants)],
    )


@dataclass(frozen=True)
class _Counted:
    per_run: int | None
    notes: list[str]


def _count(emulation: Emulation, name: str, sent: Sent) -> _Counted:
    """Return the instructions of one run, or a warning with the reason why there are none."""
    target = emulation.target
    if not emulation.instruction_runs or not target.device.counting_launcher:
        return _Counted(None, [])
    reason = why_not(target)
    if reason:
        return _Counted(None, [f"no instruction counts: {reason}"])
    try:
        found = count_instructions(target, sent, runs=emulation.instruction_runs)
    except MachineError as error:
        return _Counted(None, [f"{name}: no instruction counts: {error}"])
    if found.apart > 1:
        return _Counted(None, [f"{name}: the interpreter's instructions hide its own; raise instruction_runs"])
    doubt = f"{name}: instruction counts differ by {found.apart:.0%}; raise instruction_runs"
    return _Counted(found.per_run, [doubt] if found.apart > _FAR_APART else [])


def _figures(variant: VariantProfile) -> dict[str, list[float] | None]:
    share, placement = variant.int8_macs_share, variant.placement
    return {
        "size_bytes": [float(variant.size_bytes)],
        "int8_macs_share": None if share is None else [share],
        "cpu_fallback_share": None if placement is None else [placement.cpu_fallback_share],
        "partitions": None if placement is None else [float(placement.partitions)],
    }


def _warnings(variants: list[VariantProfile]) -> list[str]:
    found = []
    for variant in variants:
        if variant.placement and variant.placement.cpu_fallback_share > 0:
            blame = ", ".join(variant.placement.breaks[:3])
            found.append(f"{variant.name}: {variant.placement.cpu_fallback_share:.1%} fell back to the CPU, first at {blame}")
        if variant.numerics and variant.numerics.relative_error is None:
            found.append(
                f"{variant.name}: its outputs hold NaN, infinities or texts that the CPU's do not, or the CPU's are all 0"
            )
    return found


def _variant(emulation: Emulation, name: str, path: Path, sent: Sent, instructions: int | None) -> VariantProfile:
    model = files.load(path)
    macs = count_macs(model, emulation.batch)
    if emulation.target.provider.name == CPU:
        placement: Placement | None = all_on_cpu(model)
        taken: set[str] | None = None
    else:
        found = find_partitions(emulation.runner, name)
        placement, taken = read_placement(found, model, macs), taken_nodes(found)
    return VariantProfile(
        name=name,
        size_bytes=files.size_bytes(path),
        load_ms=None,
        first_run_ms=None,
        peak_rss_bytes=None,
        model_rss_bytes=None,
        cold_starts=0,
        warmup_runs=0,
        steady=False,
        n=0,
        effective_n=0.0,
        latency=[],
        withheld=[],
        outliers=0,
        outliers_waiting=None,
        drift_share=0.0,
        samples_ms=[],
        samples_thinned=False,
        operators=[],
        modules=[],
        arena_peak_bytes=None,
        memory_timeline=[],
        macs=sum(macs.values()) or None,
        int8_macs_share=quantized_macs_share(model, macs, taken=taken),
        conversion_share=0.0,
        floor_ms=None,
        instructions=instructions,
        placement=placement,
        numerics=_numerics(emulation, name, sent),
    )


def _numerics(emulation: Emulation, name: str, sent: Sent) -> Numerics:
    """Compare the emulator's outputs with those of this machine's CPU provider."""
    got = fetch_outputs(emulation.connection, emulation.runner, name)
    here = this_machine()
    with here.start() as runner:
        open_variant(runner, name, replace(sent, session={"provider": CPU, "threads": 1}))
        return _written(compare_outputs(got, fetch_outputs(here, runner, name)))


def _written(found: Numerics) -> Numerics:
    """Return what can be written as JSON, which has no infinite numbers."""
    errors = (found.max_abs_error, found.relative_error)
    absolute, relative = (None if error is None or math.isinf(error) else error for error in errors)
    return replace(found, max_abs_error=absolute, relative_error=relative)


def compare_outputs(got: Outputs, expected: Outputs) -> Numerics:
    """Compare two sets of outputs, by "<batch>/<output>".

    A number on one side only, or another text, is an infinite error; so is, of the largest output, an error where all are 0.

    Raises:
        MachineError: an output is missing or has another shape.
    """
    worst = largest = 0.0
    rows = same = 0
    for key, want in expected.items():
        if key not in got or got[key].shape != want.shape:
            raise MachineError(f"the target's result lacks output {key.split('/', 1)[-1]!r}, or it has another shape there")
        if want.dtype.kind not in "biuf":
            worst = worst if np.array_equal(got[key], want) else math.inf
            continue
        have = got[key].astype(np.float64)
        reference = want.astype(np.float64)
        if not np.array_equal(np.isfinite(have), np.isfinite(reference)):
            worst = math.inf
        both = np.isfinite(have) & np.isfinite(reference)
        worst = max(worst, float(np.abs(have[both] - reference[both]).max(initial=0.0)))
        largest = max(largest, float(np.abs(reference[both]).max(initial=0.0)))
        if reference.ndim >= 2 and reference.shape[-1] > 1:
            agrees = have.argmax(-1) == reference.argmax(-1)
            rows, same = rows + agrees.size, same + int(agrees.sum())
    relative = worst / largest if largest else math.inf if worst else 0.0
    return Numerics(CPU, worst, relative, same / rows if rows else None)
