"""Executed operators: their time, cost, and distance from the machine's peak rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edgeopt.graph.operator_cost import CONVERSIONS, Cost, cost
from edgeopt.profile.peak import Peak
from edgeopt.profile.result import MemoryPoint, OperatorTime
from edgeopt.targets.replies import Operators

_SEEN = 0.5
"""Share of the model's MACs that a profile must account for to be used; fused kernels may show slightly less than all."""


@dataclass(frozen=True)
class Insight:
    """The operators of one variant, slowest first, and their sums."""

    operators: list[OperatorTime]
    arena_peak_bytes: int | None
    macs: int | None
    int8_macs_share: float | None
    conversion_share: float
    floor_ms: float | None
    held: list[MemoryPoint] = field(default_factory=list)
    """Memory in the arena at the end of each operator of a run."""


def read_operators(
    executed: Operators,
    peak: Peak | None,
    planned: Mapping[str, int] = MappingProxyType({}),
    levels: Mapping[str, int] | None = None,
) -> Insight:
    """Return what a runner executed, one entry per node; a node's cost is the mean over the shapes it ran with.

    Args:
        executed: as the runner timed it.
        peak: the machine's peak rates, if known.
        planned: MACs by node name from the model file, for kernels whose weights the profile leaves out.
        levels: the accuracy_level of each MatMulNBits node, from the model file; see `cost`.
    """
    calls: dict[tuple[str, str, str], list[tuple[float, float, Cost]]] = {}
    for row in executed.operators:
        calls.setdefault((row.name, row.op, row.provider), []).append((row.calls, row.us / 1e3, cost(row, planned, levels)))
    total_ms = sum(ms for parts in calls.values() for _, ms, _ in parts) or 1.0
    operators = sorted(
        (_operator(key, parts, total_ms, peak) for key, parts in calls.items()), key=lambda it: (-it.ms, it.name)
    )
    macs = sum(operator.macs for operator in operators)
    integer = sum(operator.macs for operator in operators if operator.kind == "int8")
    return Insight(
        operators=operators,
        arena_peak_bytes=executed.arena_peak_bytes or None,
        macs=macs or None,
        int8_macs_share=integer / macs if macs else None,
        conversion_share=sum((operator.share for operator in operators if operator.op in CONVERSIONS), 0.0),
        floor_ms=None if peak is None or not operators else sum(operator.bound_ms or 0.0 for operator in operators),
        held=[
            MemoryPoint("arena", place, us / 1e3, name, op, held)
            for place, (name, op, us, held) in enumerate(executed.memory or ())
        ],
    )


def hidden(insight: Insight, planned: Mapping[str, int], quantized_share: float | None) -> Insight:
    """Return `insight` with MACs from the model file, where the profile hides most of the nodes (a compiled graph)."""
    all_planned = sum(planned.values())
    if insight.macs and insight.macs >= _SEEN * all_planned:
        return insight
    return replace(insight, macs=all_planned or None, int8_macs_share=quantized_share)


def _operator(
    key: tuple[str, str, str], parts: Sequence[tuple[float, float, Cost]], total_ms: float, peak: Peak | None
) -> OperatorTime:
    name, op, provider = key
    ms = sum(part for _, part, _ in parts)
    bound = None if peak is None else sum(n * peak.bound_s(one.macs, one.bytes, one.kind) * 1e3 for n, _, one in parts)
    return OperatorTime(
        name=name,
        op=op,
        provider=provider,
        ms=ms,
        share=ms / total_ms,
        macs=round(sum(n * one.macs for n, _, one in parts)),
        bytes=round(sum(n * one.bytes for n, _, one in parts)),
        kind=next((one.kind for _, _, one in parts if one.kind), None),
        bound_ms=bound,
    )
