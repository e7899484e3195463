"""The answers that a verdict is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True)
class Finding:
    """One question that the verdict rests on, answered."""

    state: State
    text: str
    stage: str
    asked: bool = False
    """Whether the recipe or a budget asks the question; "never worse" asks by itself."""
    allowed: bool = False
    """Something became worse, and the recipe allows it."""


@dataclass(frozen=True)
class Answer:
    """What a stage itself concluded about its own question, and why."""

    state: State
    reason: str


@dataclass(frozen=True)
class Judgement:
    """The verdict on one budget for one variant; `value` is the figure itself, in the metric's unit."""

    expression: str
    variant: str
    verdict: State
    value: float | None
    reason: str
    more_runs: int | None = None
    """About how many more runs would decide it, if that is what is missing."""


@dataclass(frozen=True)
class Verdict:
    """The answer to "may this be shipped?", in one sentence, and what it rests on, gravest first."""

    state: State
    sentence: str
    findings: tuple[Finding, ...]
