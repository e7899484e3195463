"""The stage `profile`: measure models on a target and judge their budgets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgeopt.batches import Batch, Batches
from edgeopt.errors import DataError, ModelError, RecipeError, nearest
from edgeopt.graph import files
from edgeopt.graph.macs import count_macs
from edgeopt.graph.operator_cost import accuracy_levels
from edgeopt.lifetime import temporary_folder
from edgeopt.profile import analysis, assembly
from edgeopt.profile.assembly import Evidence
from edgeopt.profile.comparing import Comparer
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.emulation import Emulation, examine
from edgeopt.profile.inputs import check_batches, shapes_of, take_batches
from edgeopt.profile.judging import Judge
from edgeopt.profile.machine_peak import find_peak
from edgeopt.profile.measurement import Clock, Cold, Limits, Sampled, patience_s, sample, start_all_cold
from edgeopt.profile.modules import module_times
from edgeopt.profile.operators import Insight, hidden, read_operators
from edgeopt.profile.peak import Peak
from edgeopt.profile.placement import CPU, all_on_cpu, quantized_macs_share, read_placement
from edgeopt.profile.result import Placement, ProfileResult
from edgeopt.targets.availability import require
from edgeopt.targets.replies import Hello, Opened, Operators
from edgeopt.targets.requests import Sent, close_variant, find_partitions, greet, open_variant, time_operators
from edgeopt.targets.runner import Runner, write_batches
from edgeopt.targets.target import Target, target_names
from edgeopt.targets.transports import Connection, connect
from edgeopt.verdict.accuracy_drop import Drop
from edgeopt.verdict.budget import Budget
from edgeopt.verdict.sequential import BudgetJudge, overall

_COLD_SHARE = 0.2
_EMULATED_BATCHES = 2  # an emulator takes minutes for what its device does in milliseconds
_OPERATOR_SHARE = 0.1
_SAMPLING_SHARE = 0.5  # at least, however long loading took


def profile(
    models: Mapping[str, Path],
    inputs: Batches,
    *,
    target: Target,
    config: ProfileConfig = ProfileConfig(),
    drops: Mapping[str, Drop | float] = MappingProxyType({}),
) -> ProfileResult:
    """Measure `models` (display name → ONNX file, the first one is the baseline) on `target`.

    Args:
        models: they must take the same inputs.
        inputs: batches to run; at most `config.max_batches` of them.
        target: device, provider and threads.
        config: time limit, confidence, budgets; budgets for other targets are ignored.
        drops: the accuracy lost against the baseline, by variant, for budgets on ``accuracy_drop``; a number is in points.

    Raises:
        RecipeError: a budget is not understood, or about a variant or target that does not exist.
        DataError: the inputs are not what a model takes.
        ModelError: a model cannot be read, loaded or run.
        MachineError: the device cannot be reached or lacks the provider.
    """
    if not models:
        raise DataError("profile: there is no model; give at least one ONNX file")
    require(target)
    judge = make_judge(list(models), config, target=target, drops=drops)
    most = min(config.max_batches, _EMULATED_BATCHES) if target.device.emulated else config.max_batches
    batches = take_batches(inputs, most=most)
    for name, path in models.items():
        check_batches(batches, files.signature(files.load(path)), model=f"{name} ({path})")
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("edgeopt-profile-"))
        write_batches(batches, folder / "inputs.npz")
        connection = stack.enter_context(connect(target))
        sent = send_models(connection, models, folder / "inputs.npz", target)
        runner = stack.enter_context(connection.start())
        hello = greet(runner, where=connection.where)
        failed: Mapping[str, str] = {}
        if (target.provider.name != CPU or target.device.emulated) and len(models) > 1:
            failed = failures(runner, sent, limit_s=patience_s(config.seconds))
            models = {name: path for name, path in models.items() if name not in failed}
            sent = {name: one for name, one in sent.items() if name not in failed}
            judge.leave_out(failed)
        if target.device.emulated:
            emulation = Emulation(connection, runner, target, hello, batches[0], config.instruction_runs)
            return _told_of(examine(emulation, sent, models, judge), batches, failed)
        raw = measure(runner, sent, config=config, judge=judge, overhead_ns=hello.overhead_ns)
        planned = {name: count_macs(files.load(path), batches[0]) for name, path in models.items()}
        placements = {name: _placement(runner, name, path, planned[name], target) for name, path in models.items()}
        session = next(iter(sent.values())).session
        peak = find_peak(connection, runner, session, hello) if config.roofline and target.provider.name == CPU else None
    insights = {name: _insight(raw.operators[name], peak, planned[name], path) for name, path in models.items()}
    sizes = {name: files.size_bytes(path) for name, path in models.items()}
    evidence = {
        name: Evidence(
            sizes[name],
            raw.cold[name],
            insights[name],
            placements[name],
            module_times(insights[name].operators, files.load(path)),
        )
        for name, path in models.items()
    }
    found = replace(summarize(raw, hello, judge, evidence, target=target, config=config), peak=peak)
    return _told_of(found, batches, failed)


def failures(runner: Runner, sent: Mapping[str, Sent], *, limit_s: float) -> dict[str, str]:
    """Return why variants do not run on the target, by name: a provider may take the int8 form of a model only.

    Raises:
        ModelError: none of them runs; the first one's reason.
    """
    reasons: dict[str, ModelError] = {}
    for name, one in sent.items():
        try:
            open_variant(runner, name, one, timeout_s=limit_s)
        except ModelError as error:
            reasons[name] = error
        else:
            close_variant(runner, name)
    if len(reasons) == len(sent):
        raise next(iter(reasons.values()))
    return {name: str(error) for name, error in reasons.items()}


def _told_of(result: ProfileResult, batches: Sequence[Batch], failed: Mapping[str, str]) -> ProfileResult:
    """Return the result with the shapes it was measured on and the variants that do not run on the target."""
    warnings = [f"{name} does not run on {result.target} and is left out: {reason}" for name, reason in failed.items()]
    return replace(result, inputs=shapes_of(batches), warnings=[*warnings, *result.warnings])


def make_judge(
    names: list[str],
    config: ProfileConfig,
    *,
    target: Target,
    drops: Mapping[str, Drop | float] = MappingProxyType({}),
) -> Judge:
    """Return the judge of those budgets in `config` that are about `target`; they must be about variants in `names`.

    Raises:
        RecipeError: a budget is not understood, or about a variant or target that does not exist.
    """
    budgets = [Budget.parse(text, confidence=config.confidence) for text in config.budget]
    known = [target.name, *target_names()]
    for budget in budgets:
        if budget.target is not None and budget.target not in known:
            raise RecipeError(f"budget '{budget.expression}': no target '{budget.target}'{nearest(budget.target, known)}")
    here = [budget for budget in budgets if budget.target in (None, target.name)]
    alone = target.provider.threads == 1 and target.provider.name == CPU
    comparer = Comparer(names, config, on_one_thread=alone)
    return Judge(BudgetJudge(here, names, references=config.references, drops=drops), comparer)


def send_models(connection: Connection, models: Mapping[str, Path], inputs: Path, target: Target) -> dict[str, Sent]:
    """Copy everything to the device and return how each variant is opened there."""
    session = session_of(target, threads=target.provider.threads, shared=len(models) > 1)
    there = connection.send(inputs)
    return {name: Sent(connection.send(path), there, session) for name, path in models.items()}


def session_of(target: Target, *, threads: int, shared: bool) -> dict[str, Any]:
    """Return how a session is opened on the device; `shared`: several run interleaved in one process."""
    session = {**target.provider.session(), "threads": threads}
    if shared and threads > 1:
        session["config"] = {"session.force_spinning_stop": "1"}  # idle threads of one variant must not slow the next
    return session


@dataclass(frozen=True)
class Raw:
    """Measurements from the device, before any statistics."""

    cold: Mapping[str, list[Cold]]
    opened: Mapping[str, Opened]
    sampled: Sampled
    operators: Mapping[str, Operators]
    elapsed_s: float


def measure(
    runner: Runner,
    sent: Mapping[str, Sent],
    *,
    config: ProfileConfig,
    judge: Judge,
    overhead_ns: float,
    clock: Clock = time.monotonic,
) -> Raw:
    """Drive the runner through cold starts, sampling and operator times, within the time box."""
    begin = clock()
    hurry = begin + _COLD_SHARE * config.seconds
    limit_s = patience_s(config.seconds)
    cold = start_all_cold(runner, sent, times=config.cold_starts, deadline=hurry, limit_s=limit_s, clock=clock)
    opened = {name: open_variant(runner, name, one, timeout_s=limit_s) for name, one in sent.items()}
    deadline = max(begin + (1 - _OPERATOR_SHARE) * config.seconds, clock() + _SAMPLING_SHARE * config.seconds)
    limits = Limits(deadline, config.max_runs)
    sampled = sample(runner, list(sent), limits=limits, overhead_ns=overhead_ns, enough=judge.enough, clock=clock)
    operators = dict.fromkeys(sent, Operators(runs=0, operators=[], arena_peak_bytes=None))
    if config.operator_runs:
        operators = {name: time_operators(runner, name, runs=config.operator_runs) for name in sent}
    return Raw(cold, opened, sampled, operators, elapsed_s=clock() - begin)


def _insight(operators: Operators, peak: Peak | None, planned: Mapping[str, int], path: Path) -> Insight:
    model = files.load(path)
    insight = read_operators(operators, peak, planned, accuracy_levels(model))
    return hidden(insight, planned, quantized_macs_share(model, planned))


def _placement(runner: Runner, name: str, path: Path, macs: Mapping[str, int], target: Target) -> Placement | None:
    if target.provider.name == CPU:
        return all_on_cpu(files.load(path))
    return read_placement(find_partitions(runner, name), files.load(path), macs)


def summarize(
    raw: Raw,
    hello: Hello,
    judge: Judge,
    evidence: Mapping[str, Evidence],
    *,
    target: Target,
    config: ProfileConfig,
) -> ProfileResult:
    """Turn measurements into figures and verdicts."""
    counted = analysis.count(raw.sampled)
    names = list(raw.sampled.names)
    variants = [assembly.variant_profile(name, counted, evidence[name], confidence=config.confidence) for name in names]
    conditions = analysis.conditions(raw.sampled.chunks, counted)
    comparisons, margin = judge.compare(counted, conditions)
    judgements = judge.judgements(counted, {name: assembly.figures(evidence[name]) for name in names})
    opened = raw.opened[names[0]]
    return ProfileResult(
        target=target.name,
        provider=opened.providers[0],
        threads=target.provider.threads,
        device=dict(hello.device),
        versions=dict(hello.versions),
        seconds=config.seconds,
        elapsed_s=raw.elapsed_s,
        overhead_ns=hello.overhead_ns,
        batches=opened.batches,
        call=opened.call,
        variants=variants,
        comparisons=comparisons,
        budgets=judgements,
        verdict=overall(judgements),
        emulated=False,
        conditions=conditions,
        warnings=assembly.warnings_of(
            variants, [pair for pair in comparisons if pair.b not in config.references], conditions, margin=margin
        ),
    )
