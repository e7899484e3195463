"""The options of a profile."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgeopt.config import Options, ThreadCount


class ProfileConfig(Options):
    """How long to measure, at which confidence, and which budgets the figures must meet."""

    seconds: float = Field(default=5.0, gt=0, le=3600)
    """Time limit of the whole profile in seconds, shared by all variants; at least half of it goes to timed runs."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Confidence of every interval and budget that does not state its own."""
    budget: list[str] = Field(default_factory=list)
    """Budgets such as ``"p95_ms<=20 @99%"``, ``"int8: size_mb<=4"``, ``"int8 on arm64: accuracy_drop<=0.5"``; without a name
    for every variant but the baseline, without ``on`` for every target."""
    references: list[str] = Field(default_factory=list)
    """Variants shown for reference only, such as a teacher; budgets without a name do not apply to them."""
    stop_when_compared: bool = False
    """Stop as soon as every variant is found faster, slower or the same as the baseline; repeated looks share the error."""
    min_runs: int = Field(default=30, ge=5)
    """Fewest timed runs per variant before sampling may stop because every budget is decided."""
    max_runs: int = Field(default=20_000, ge=10)
    """Timed runs per variant after which sampling stops."""
    max_batches: int = Field(default=32, ge=1)
    """Largest number of input batches used; more only cost memory on the device."""
    cold_starts: int = Field(default=3, ge=1)
    """Processes started per variant to measure load time, first run and peak memory."""
    operator_runs: int = Field(default=10, ge=0)
    """Runs under onnxruntime's profiler, for time per operator; 0: no operator times."""
    instruction_runs: int = Field(default=0, ge=0)
    """Extra runs with which an emulator counts instructions (takes minutes, see `edgeopt.profile.instructions`); 0: none."""
    roofline: bool = True
    """Compare operators with the peak rates of this machine, which are measured once (a second) and cached."""
    margin: float = Field(default=0.02, ge=0)
    """Two variants differ in speed if the interval of their ratio lies outside 1 ± this."""
    busy_margin: float = Field(default=0.10, ge=0)
    """The margin while other processes use the machine, because their load does not affect both variants equally."""


class GenerationConfig(Options):
    """How generation is measured."""

    contexts: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [128, 512, 1024], min_length=1)
    """Lengths of prompts."""
    tokens: int = Field(default=32, ge=4)
    """Tokens decoded after each prompt."""
    repeats: int = Field(default=3, ge=1)
    """Prompts of each length."""
    threads: ThreadCount = 1
    """Threads of onnxruntime."""
    budget: list[str] = Field(default_factory=list)
    """Such as ``ttft_ms<=300`` or ``int4: tokens_per_s>=40``; judged at the first context. In a recipe a budget without a name
    is for the quantized model."""
