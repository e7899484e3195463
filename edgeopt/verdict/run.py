"""The verdict on a run. Every check of a stage is a finding; the worst finding is the verdict.

The "never worse" questions are asked whether a budget names them or not: a quantized model that is slower or larger than the
baseline, or a pruned model that is not smaller, is a failure and stands in the first line, unless the recipe has
``allow_worse = true``. So is a final model that lost more accuracy than the recipe allows compared with the teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeopt.roles import Role
from edgeopt.units import count, milliseconds, size, times, times_interval
from edgeopt.verdict.evidence import Evidence, ModelFigures
from edgeopt.verdict.findings import Finding, State, Verdict

_GRAVITY: dict[State, int] = {"fail": 0, "undecided": 1, "pass": 2}
_SAME_RATE = 0.9  # medians of a few prompts differ by less from run to run
_SMALL_POINTS = 0.005  # less is not shown in two decimals


def judge(evidence: Evidence, *, allow_worse: bool) -> Verdict:
    """Return the verdict on a run.

    Args:
        evidence: what its stages found.
        allow_worse: the recipe allows what "never worse" forbids.
    """
    findings = [
        *_never_worse(evidence, allow_worse),
        *_accuracy(evidence),
        *_budgets(evidence),
        *_exports(evidence),
        *_bundle(evidence),
    ]
    findings.sort(key=lambda finding: _GRAVITY[finding.state])  # stable: "never worse" stays first among equals
    state: State = findings[0].state if findings and evidence.measured else "undecided"
    return Verdict(state, _sentence(state, findings, evidence), tuple(findings))


def _sentence(state: State, findings: Sequence[Finding], evidence: Evidence) -> str:
    if not evidence.measured:
        return "Nothing was measured: no stage that verifies or profiles was run."
    if not findings:
        return f"Nothing was judged: no budget, no accuracy to keep, no int8 beside fp32{_measured(evidence.models)}."
    if state != "pass":
        same = [finding for finding in findings if finding.state == state]
        more = f" (and {len(same) - 1} more below)" if len(same) > 1 else ""
        return f"{_capital(same[0].text)}{more}."
    worse = next((finding.text for finding in findings if finding.allowed), None)
    return f"{_capital(worse or _gains(evidence) or 'Every check passed')}."


def _measured(models: Sequence[ModelFigures]) -> str:
    """Return the measured medians: "; measured (p50): a 12.3 ms, b 4.1 ms"."""
    parts = [f"{model.name} {milliseconds(model.p50_ms)}" for model in models if model.p50_ms is not None]
    return f"; measured (p50): {', '.join(parts)}" if parts else ""


def _capital(text: str) -> str:
    """Start a sentence with a capital unless it starts with a name such as "int8"."""
    first = text.split(" ", 1)[0]
    return text if any(char.isdigit() for char in first) else text[:1].upper() + text[1:]


def _gains(evidence: Evidence) -> str | None:
    """Return what quantization, and the whole way, brought: "int8 is 2.7× as fast as fp32 and 3.6× smaller, and …"."""
    before, after, teacher = (evidence.of(role) for role in (Role.BASELINE, Role.QUANTIZED, Role.TEACHER))
    if before is None or after is None:
        return None
    gains = []
    if after.speedup:
        gains.append(f"{times(after.speedup.value)} as fast as {before.name}")
    if before.size_bytes and after.size_bytes:
        gains.append(f"{times(before.size_bytes / after.size_bytes)} smaller{'' if gains else f' than {before.name}'}")
    text = f"{after.name} is {' and '.join(gains)}" if gains else ""
    if before.accuracy is not None and after.accuracy is not None:
        metric = evidence.metric
        lost = metric.points_lost(before.accuracy, after.accuracy)
        change = f"keeps its {metric.name} of" if abs(lost) < _SMALL_POINTS else f"{metric.change(lost)}, to"
        change += f" {metric.text(after.accuracy)}"
        text = f"{text}, and {change}" if text else f"{after.name} {change}"
    if text and teacher and teacher.accuracy is not None and after.accuracy is not None:
        lost = evidence.metric.points_lost(teacher.accuracy, after.accuracy)
        below = (lost >= 0) == evidence.metric.larger_is_better
        text += f" ({evidence.metric.amount(lost)} {'below' if below else 'above'} the {teacher.name})"
    return text or None


def _never_worse(evidence: Evidence, allow_worse: bool) -> Iterator[Finding]:
    def finding(worse: bool, text: str, stage: str) -> Finding:
        return _worse(text, stage, allow_worse) if worse else Finding("pass", text, stage)

    before, after = evidence.of(Role.BASELINE), evidence.of(Role.QUANTIZED)
    if before and after and after.decision:
        yield _faster(before, after, allow_worse)
    if before and after and before.name in evidence.rates and after.name in evidence.rates:
        base, own = evidence.rates[before.name], evidence.rates[after.name]
        slower = own < _SAME_RATE * base
        text = f"{after.name} decodes {'slower' if slower else 'no slower'} than {before.name}"
        yield finding(slower, f"{text}: {own:.1f} against {base:.1f} tokens per second", "generation")
    if before and after and before.size_bytes and after.size_bytes:
        larger = after.size_bytes >= before.size_bytes
        text = (
            f"{after.name} is {'not ' if larger else ''}smaller than {before.name}: "
            f"{size(after.size_bytes)} against {size(before.size_bytes)}"
        )
        yield finding(larger, text, "quantize")
    if evidence.shrinkage:
        pruned = evidence.shrinkage
        for unit, old, new in (
            ("MACs", pruned.macs_before, pruned.macs_after),
            ("parameters", pruned.parameters_before, pruned.parameters_after),
        ):
            text = f"the pruned model has {'no ' if new >= old else ''}fewer {unit}: {count(new)} after {count(old)}"
            yield finding(new >= old, text, "prune")


def _worse(text: str, stage: str, allowed: bool) -> Finding:
    """Return the finding that something became worse."""
    return Finding("pass", f"{text}, which the recipe allows", stage, allowed=True) if allowed else Finding("fail", text, stage)


def _faster(before: ModelFigures, after: ModelFigures, allow_worse: bool) -> Finding:
    """Read the decision about the paired ratio, which is made on its whole interval."""
    figures = " against ".join(milliseconds(model.p50_ms) for model in (after, before) if model.p50_ms is not None)
    figures = f": {figures} (p50)" if figures else ""
    factor = times(after.speedup.value) if after.speedup else "not"
    if after.decision == "slower":
        text = f"{after.name} is slower than {before.name} on the target, {factor} its speed{figures}"
        return _worse(text, "profile", allow_worse)
    if after.decision in {"faster", "same"}:
        how = f"{factor} as fast as" if after.decision == "faster" else "neither slower nor faster than"
        return Finding("pass", f"{after.name} is {how} {before.name} on the target{figures}", "profile")
    text = f"too few runs to say whether {after.name} is slower than {before.name}"
    if after.speedup:
        text, figures = f"{text}: {times_interval(after.speedup)} its speed", figures.replace(": ", ", ", 1)
    return Finding("undecided", f"{text}{figures}", "profile")


def _accuracy(evidence: Evidence) -> Iterator[Finding]:
    """Judge what the final model lost: quantized compared with the baseline, and compared with the teacher."""
    for answer in (evidence.quantized_accuracy, evidence.whole_accuracy):
        if answer:
            yield Finding(answer.state, answer.reason, "verify", asked=True)


def _budgets(evidence: Evidence) -> Iterator[Finding]:
    """A missed budget fails the run here."""
    for budget in evidence.budgets:
        about = "" if budget.expression.startswith(f"{budget.variant}:") else f" for {budget.variant}"
        said = {"pass": "met", "fail": "missed", "undecided": "undecided"}[budget.verdict]
        reason = f": {budget.reason}" if budget.reason else ""
        yield Finding(budget.verdict, f"budget {budget.expression}{about} is {said}{reason}", "profile", asked=True)


def _exports(evidence: Evidence) -> Iterator[Finding]:
    for name, parity in evidence.parities.items():
        figures = f" (largest error {parity.relative_error:.2g}, {parity.tolerance:.2g} allowed)"
        text = f"ONNX {'gives' if parity.passed else 'does not give'} PyTorch's outputs{figures}"
        yield Finding("pass" if parity.passed else "fail", text, name)


def _bundle(evidence: Evidence) -> Iterator[Finding]:
    if evidence.bundle_verified is not None:
        text = "the bundle verifies itself" if evidence.bundle_verified else "the bundle does not verify itself"
        yield Finding("pass" if evidence.bundle_verified else "fail", text, "bundle")
