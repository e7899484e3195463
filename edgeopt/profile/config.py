"""The options of a profile."""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class ProfileConfig(Options):
    """How long to measure, how sure to be, and what the figures must meet."""

    seconds: float = Field(default=5.0, gt=0, le=3600)
    """Time box of the whole profile, shared by all variants; loading each model once and half of it for timed runs are safe."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Confidence of every interval that names none of its own."""
    budget: list[str] = Field(default_factory=list)
    """Budgets such as ``"p95_ms<=20 @99%"``, ``"int8: size_mb<=4"``, ``"int8 on arm64: accuracy_drop<=0.5"``; without a name:
    every variant but the baseline, without ``on``: every target."""
    references: list[str] = Field(default_factory=list)
    """Variants that only stand beside, such as a teacher: slower is no news, and budgets without a name are not about them."""
    stop_when_compared: bool = False
    """Stop as soon as every variant is told from the baseline, or known to be as fast; looks meanwhile share the error."""
    min_runs: int = Field(default=30, ge=5)
    """Timed runs per variant before sampling may stop early because every budget is decided."""
    max_runs: int = Field(default=20_000, ge=10)
    """Timed runs per variant after which sampling stops."""
    max_batches: int = Field(default=32, ge=1)
    """Input batches used, taken from the front; more only cost memory on the device."""
    cold_starts: int = Field(default=3, ge=1)
    """Processes started per variant to measure load time, first run and peak memory."""
    operator_runs: int = Field(default=10, ge=0)
    """Runs under onnxruntime's profiler, for time per operator; 0: no operator times."""
    instruction_runs: int = Field(default=0, ge=0)
    """Runs more, twice, where an emulator counts instructions (minutes, see `edgeopt.profile.instructions`); 0: none."""
    roofline: bool = True
    """Hold operators against what this machine can do at most, which is measured once (a second) and kept."""
    margin: float = Field(default=0.02, ge=0)
    """Two variants count as different in speed if the interval of their ratio lies outside 1 ± this."""
    busy_margin: float = Field(default=0.10, ge=0)
    """The same where other processes kept the machine busy: their load does not fall on both variants alike."""
