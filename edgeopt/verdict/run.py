"""The verdict on a run. Every check of a stage is a finding; the worst finding is the verdict.

The "never worse" checks are made whether a budget names them or not: an int8 model that is slower or larger than fp32, or
a pruned model that is not smaller, is a failure and is stated in the first line, unless the recipe has ``allow_worse = true``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgeopt.report.facts import Facts
from edgeopt.report.model import Finding, Speed, State, Variant, Verdict
from edgeopt.report.units import count, milliseconds, size, times, times_interval

_GRAVITY: dict[State, int] = {"fail": 0, "undecided": 1, "pass": 2}
_STATES: dict[str, State] = {state: state for state in _GRAVITY}
BASELINE, QUANTIZED = "fp32", "int8"


def judge(stages: Mapping[str, Facts], variants: Sequence[Variant], *, allow_worse: bool) -> Verdict:
    """Return the verdict on a run.

    Args:
        stages: facts of each stage, by its name.
        variants: the variants of the model.
        allow_worse: the recipe allows what "never worse" forbids.
    """
    findings = [
        *_never_worse(stages, variants, allow_worse),
        *_verify(stages),
        *_budgets(stages),
        *_exports(stages),
        *_bundle(stages),
    ]
    findings.sort(key=lambda finding: _GRAVITY[finding.state])  # stable: "never worse" stays first among equals
    measured = any(name in stages for name in ("verify", "profile", "quantize"))
    state: State = findings[0].state if findings and measured else "undecided"
    return Verdict(state, _sentence(state, findings, variants, measured), tuple(findings))


def _sentence(state: State, findings: Sequence[Finding], variants: Sequence[Variant], measured: bool) -> str:
    if not measured:
        return "Nothing was measured: no stage that verifies or profiles was run."
    if not findings:
        return f"Nothing was judged: no budget, no accuracy to keep, no int8 beside fp32{_measured(variants)}."
    if state != "pass":
        same = [finding for finding in findings if finding.state == state]
        more = f" (and {len(same) - 1} more below)" if len(same) > 1 else ""
        return f"{_capital(same[0].text)}{more}."
    worse = next((finding.text for finding in findings if "recipe allows" in finding.text), None)
    return f"{_capital(worse or _gains(variants) or 'Every check passed')}."


def _measured(variants: Sequence[Variant]) -> str:
    """Return the measured medians: "; measured (p50): a 12.3 ms, b 4.1 ms"."""
    middle = [(variant.name, variant.speed.latency_ms.get("p50")) for variant in variants if variant.speed]
    parts = [f"{name} {milliseconds(interval.value)}" for name, interval in middle if interval]
    return f"; measured (p50): {', '.join(parts)}" if parts else ""


def _capital(text: str) -> str:
    """Start a sentence with a capital unless it starts with a name such as "int8"."""
    first = text.split(" ", 1)[0]
    return text if any(char.isdigit() for char in first) else text[:1].upper() + text[1:]


def _gains(variants: Sequence[Variant]) -> str | None:
    """Return the gains of quantization: "int8 is 2.7× as fast as fp32 and 3.6× smaller, …"."""
    by_name = {variant.name: variant for variant in variants}
    before, after = by_name.get(BASELINE), by_name.get(QUANTIZED)
    if before is None or after is None:
        return None
    gains = []
    if after.speed and after.speed.speedup:
        gains.append(f"{times(after.speed.speedup.value)} as fast as {BASELINE}")
    if before.size_bytes and after.size_bytes:
        gains.append(f"{times(before.size_bytes / after.size_bytes)} smaller{'' if gains else f' than {BASELINE}'}")
    text = f"{QUANTIZED} is {' and '.join(gains)}" if gains else ""
    if before.accuracy and after.accuracy:
        lost = 100 * (before.accuracy.value - after.accuracy.value)
        change = (
            "keeps its accuracy"
            if abs(lost) < 0.005
            else f"{'loses' if lost > 0 else 'gains'} {abs(lost):.2f} points of accuracy"
        )
        text = f"{text}, and {change}" if text else f"{QUANTIZED} {change}"
    return text or None


def _never_worse(stages: Mapping[str, Facts], variants: Sequence[Variant], allow_worse: bool) -> Iterator[Finding]:
    def finding(worse: bool, text: str, stage: str) -> Finding:
        if worse and allow_worse:
            return Finding("pass", f"{text}, which the recipe allows", stage)
        return Finding("fail" if worse else "pass", text, stage)

    by_name = {variant.name: variant for variant in variants}
    before, after = by_name.get(BASELINE), by_name.get(QUANTIZED)
    if before and after and after.speed and after.speed.decision:
        yield _faster(before, after, after.speed, allow_worse)
    if before and after and before.size_bytes and after.size_bytes:
        larger = after.size_bytes >= before.size_bytes
        text = (
            f"int8 is {'not ' if larger else ''}smaller than fp32: {size(after.size_bytes)} against {size(before.size_bytes)}"
        )
        yield finding(larger, text, "quantize")
    prune = stages.get("prune")
    for key, unit in (("macs", "MACs"), ("parameters", "parameters")):
        old, new = (prune.integer(f"{key}_before"), prune.integer(f"{key}_after")) if prune else (None, None)
        if old is not None and new is not None:
            text = f"the pruned model has {'no ' if new >= old else ''}fewer {unit}: {count(new)} after {count(old)}"
            yield finding(new >= old, text, "prune")


def _faster(before: Variant, after: Variant, speed: Speed, allow_worse: bool) -> Finding:
    """Read the decision about the paired ratio, which is made on its whole interval."""
    middle = [variant.speed.latency_ms.get("p50") if variant.speed else None for variant in (after, before)]
    figures = " against ".join(milliseconds(value.value) for value in middle if value)
    figures = f": {figures} (p50)" if figures else ""
    factor = times(speed.speedup.value) if speed.speedup else "not"
    if speed.decision == "slower":
        text = f"int8 is slower than fp32 on the target, {factor} its speed{figures}"
        return (
            Finding("pass", f"{text}, which the recipe allows", "profile") if allow_worse else Finding("fail", text, "profile")
        )
    if speed.decision in {"faster", "same"}:
        how = f"{factor} as fast as" if speed.decision == "faster" else "neither slower nor faster than"
        return Finding("pass", f"int8 is {how} fp32 on the target{figures}", "profile")
    interval = times_interval(speed.speedup)
    return Finding(
        "undecided", f"too few runs to say whether int8 is slower than fp32: {interval} its speed{figures}", "profile"
    )


def _verify(stages: Mapping[str, Facts]) -> Iterator[Finding]:
    facts = stages.get("verify")
    state = facts.text("verdict") if facts else None
    if facts and state is not None:
        yield Finding(_state(state, facts), facts.text("reason") or "the outputs were compared", "verify", asked=True)


def _budgets(stages: Mapping[str, Facts]) -> Iterator[Finding]:
    for budget in stages["profile"].rows("budgets") if "profile" in stages else []:
        state = _state(budget.text("verdict") or "undecided", budget)
        expression, variant = budget.text("expression") or "?", budget.text("variant")
        name = f"budget {expression}" + (f" for {variant}" if variant and not expression.startswith(f"{variant}:") else "")
        said = {"pass": "met", "fail": "missed", "undecided": "undecided"}[state]
        reason = budget.text("reason")
        yield Finding(state, f"{name} is {said}{f': {reason}' if reason else ''}", "profile", asked=True)


def _exports(stages: Mapping[str, Facts]) -> Iterator[Finding]:
    for name, facts in stages.items():
        parity = facts.table("parity")
        passed = parity.flag("passed")
        error, tolerance = parity.number("relative_error"), parity.number("tolerance")
        if passed is not None and name.split("-")[0] == "export":
            figures = (
                f" (largest error {error:.2g}, {tolerance:.2g} allowed)" if error is not None and tolerance is not None else ""
            )
            text = f"ONNX {'gives' if passed else 'does not give'} PyTorch's outputs{figures}"
            yield Finding("pass" if passed else "fail", text, name)


def _bundle(stages: Mapping[str, Facts]) -> Iterator[Finding]:
    verified = stages["bundle"].flag("verified") if "bundle" in stages else None
    if verified is not None:
        text = "the bundle verifies itself" if verified else "the bundle does not verify itself"
        yield Finding("pass" if verified else "fail", text, "bundle")


def _state(text: str, facts: Facts) -> State:
    if text not in _STATES:
        raise facts.wrong("verdict", text, "pass, fail or undecided")
    return _STATES[text]
