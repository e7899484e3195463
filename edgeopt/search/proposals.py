"""Candidates without training: dynamic programming over what is known of every part (`Forecast`).

For some times T, from that of the whole model down to near the least that can be had:

    least Σ_parts error(units, precision)    so that on every target    base + Σ_parts ms(units, precision) ≤ T
                                             and                        rest + Σ_parts bytes(units, precision) ≤ size

There is one budget in the programme, so a version costs the largest of its shares of each limit: what is chosen keeps all of
them. Errors are of the untrained model; they rank allocations, and training says what each is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeopt.prune.allocation.dynamic import Option, choose
from edgeopt.prune.allocation.forecast import Forecast, PartForecast
from edgeopt.search.knobs import OFF, Knob, Setting
from edgeopt.verdict.budget import Budget

PROPOSAL = "proposal"
"""The knob whose values are proposals: what each sets, by key of the recipe."""
UNITS, EXCLUDE = "prune.units", "quantize.exclude"
_FINER = 3
"""Times T per candidate that a round tries: later rounds go on between them."""
_SHORTEST = 10.0
"""The whole model's time over the shortest T."""
_NEAR_LEAST = 1.1
_BYTES = {"fp32": 4.0, "int8": 1.0}
_UNIT_BYTES = {"size_bytes": 1.0, "size_kb": 1e3, "size_mb": 1e6}


@dataclass(frozen=True)
class Proposal:
    """A candidate and what it will be like.

    Attributes:
        setting: keys of the recipe and their values.
        figures: p50_ms (of the slowest target) and size_bytes.
        error: what is changed at the model's outputs before any training, as a share of their power.
        targets_ms: p50 by target.
    """

    setting: Setting
    figures: Mapping[str, float]
    error: float
    targets_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Version:
    units: int
    precision: str
    ms: tuple[float, ...]  # by target
    size_bytes: float
    error: float


class _Problem:
    """Versions of all parts, and what the rest costs."""

    def __init__(self, forecasts: Mapping[str, Forecast]) -> None:
        self.targets = tuple(forecasts)
        self.known = tuple(forecasts.values())
        self.precisions = [name for name in self.known[0].precisions if all(name in one.precisions for one in self.known)]
        self.deployed = self.precisions[-1]
        self.versions = {name: list(self._versions(name, part)) for name, part in self.known[0].parts.items()}
        self.base_ms = tuple(one.base_ms[self.deployed] for one in self.known)
        whole = sum(self._bytes(part, part.versions[-1].units, self.deployed) for part in self.known[0].parts.values())
        self.rest_bytes = max(0.0, self.known[0].whole_bytes - whole)

    def _versions(self, name: str, part: PartForecast) -> Iterator[_Version]:
        for version in part.versions:
            for precision in self.precisions if version.units else [self.deployed]:
                ms = tuple(_ms(one.parts[name], version.units, precision) for one in self.known)
                rounding = (
                    max(one.parts[name].int8_error for one in self.known) if precision == "int8" and version.units else 0.0
                )
                size = self._bytes(part, version.units, precision)
                yield _Version(version.units, precision, ms, size, version.error + rounding)

    def _bytes(self, part: PartForecast, units: int, precision: str) -> float:
        return part.parameters_per_unit * units * _BYTES[precision]

    def whole_ms(self) -> list[list[float]]:
        """Return the time of the whole model by target: in the precision that is fastest, and in the slowest."""
        found = []
        for place, base in enumerate(self.base_ms):
            sums = []
            for precision in self.precisions:
                whole = [max(v.units for v in versions) for versions in self.versions.values()]
                chosen = zip(whole, self.versions.values(), strict=True)
                sums.append(
                    base + sum(v.ms[place] for units, vs in chosen for v in vs if v.units == units and v.precision == precision)
                )
            found.append([min(sums), max(sums)])
        return found

    def least_ms(self) -> list[float]:
        """Return the shortest time by target."""
        return [
            base + sum(min(version.ms[place] for version in versions) for versions in self.versions.values())
            for place, base in enumerate(self.base_ms)
        ]

    def solve(self, times: Sequence[float], size: float | None) -> dict[str, _Version] | None:
        """Return the versions with the least error within a time on each target and a size; None: there are none."""
        rooms = [time - base for time, base in zip(times, self.base_ms, strict=True)]
        space = None if size is None else size - self.rest_bytes
        if min(rooms) <= 0 or (space is not None and space <= 0):
            return None

        def cost(version: _Version) -> float:
            shares = [ms / room for ms, room in zip(version.ms, rooms, strict=True)]
            return max([*shares, *([] if space is None else [version.size_bytes / space])])

        options = {
            name: [Option(place, cost(version), version.error) for place, version in enumerate(versions)]
            for name, versions in self.versions.items()
        }
        chosen = choose(options, 1.0)
        return None if chosen is None else {name: self.versions[name][place] for name, place in chosen.items()}

    def proposal(self, chosen: Mapping[str, _Version], exclude: Sequence[str]) -> Proposal:
        """Return the candidate that has these versions, and these nodes in floating point in any case."""
        parts = self.known[0].parts
        units = {name: one.units for name, one in chosen.items() if one.units < parts[name].versions[-1].units}
        kept_float = [name for name, one in chosen.items() if one.precision != self.deployed and one.units]
        floating = sorted({*exclude, *(node for name in kept_float for node in parts[name].nodes)})
        times = [base + sum(one.ms[place] for one in chosen.values()) for place, base in enumerate(self.base_ms)]
        size = self.rest_bytes + sum(one.size_bytes for one in chosen.values())
        return Proposal(
            {UNITS: units or OFF, EXCLUDE: floating},
            {"p50_ms": max(times), "size_bytes": size},
            sum(one.error for one in chosen.values()),
            dict(zip(self.targets, times, strict=True)),
        )


def _ms(part: PartForecast, units: int, precision: str) -> float:
    """Return a part's time; targets whose steps differ have other versions, between which it is interpolated."""
    known = part.versions
    return float(np.interp(units, [one.units for one in known], [one.ms[precision] for one in known]))


def propose(
    forecasts: Mapping[str, Forecast], budgets: Sequence[Budget], *, count: int, exclude: Sequence[str] = ()
) -> tuple[Proposal, ...]:
    """Return candidates, slowest first, about `_FINER` times as many as the `count` that a round tries.

    Where the budgets cannot be kept by what is known, the fastest candidates are returned, so that their best can be told.

    Args:
        forecasts: of the same model, by target.
        budgets: those on time and size limit what is proposed.
        count: candidates in a round.
        exclude: nodes that the recipe keeps in floating point.
    """
    problem = _Problem(forecasts)
    limit = min((b.limit for b in budgets if b.quantile is not None and b.sign in {"<", "<="}), default=None)
    size = min(
        (b.limit * _UNIT_BYTES[b.metric] for b in budgets if b.metric in _UNIT_BYTES and b.sign in {"<", "<="}), default=None
    )
    found: dict[str, Proposal] = {}
    for times in _times(problem, limit, _FINER * count):
        chosen = problem.solve(times, size) or problem.solve(times, None)
        if chosen is not None:
            one = problem.proposal(chosen, exclude)
            found.setdefault(str(one.setting), one)
    kept = [one for one in found.values() if not any(_better(other, one) for other in found.values())]
    return tuple(sorted(kept, key=lambda one: -one.figures["p50_ms"]))


def _times(problem: _Problem, limit: float | None, count: int) -> Iterator[list[float]]:
    """Yield times by target, each from the whole model's, or the limit, to near the least; and the slowest that is allowed."""
    whole, least = problem.whole_ms(), problem.least_ms()
    pairs = list(zip(whole, least, strict=True))
    tops = [fastest if limit is None else min(fastest, max(limit, floor * _NEAR_LEAST)) for (fastest, _), floor in pairs]
    if limit is None or any(fastest < limit for fastest, _ in whole):
        yield [slowest * (1 + 1e-9) if limit is None else min(slowest * (1 + 1e-9), limit) for _, slowest in whole]
    for share in np.linspace(0.0, 1.0, count):
        yield [
            top * (max(floor * _NEAR_LEAST, top / _SHORTEST) / top) ** float(share) * (1 + 1e-9)
            for top, floor in zip(tops, least, strict=True)
        ]


def _better(a: Proposal, b: Proposal) -> bool:
    """Return whether `a` is predicted nowhere worse than `b` and somewhere better."""
    pairs = [(a.error, b.error), *((a.figures[name], b.figures[name]) for name in a.figures)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def with_proposals(knobs: Sequence[Knob], proposals: Sequence[Proposal]) -> tuple[Knob, ...]:
    """Return the knobs with proposals in place of those that they decide: what is pruned, how far, and in which precision.

    Proposals name parts of the student that the recipe has: another student would have other parts.
    """
    if not proposals:
        return tuple(knobs)
    names = tuple(f"p{place:02d}" for place in range(len(proposals)))
    others = [knob for knob in knobs if not knob.key.startswith(("distill.", "prune.", "quantize."))]
    return (Knob(PROPOSAL, tuple(dict(one.setting) for one in proposals), names), *others)


def spread(proposals: Sequence[Proposal], count: int) -> list[Proposal]:
    """Return `count` of the proposals, evenly spaced, the first and the last among them, those in the middle first."""
    places = np.linspace(0, len(proposals) - 1, min(count, len(proposals))).round().tolist()
    middle = (len(proposals) - 1) / 2
    return [proposals[int(place)] for place in sorted(dict.fromkeys(places), key=lambda place: (abs(place - middle), -place))]
