"""What a bundle expects of the device that runs it: where its operators run, on which kernels, and how long a run takes.

Placement and coverage are read from onnxruntime's profile of one run, so they show what really ran, after fusion and fallback:

    placement   kernels by provider and operator; a device may not run more of them off the chosen provider than recorded
    coverage    of the kernels that multiply (convolutions, matrix products, …), the share that multiplies integers
    latency     p50 and p95 of the first golden sample, with the device it was measured on; judged only as a budget

Used when a bundle is written, and by verify.py on the device.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import tempfile
import time
from collections import Counter
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

PLACEMENT, COVERAGE, BUDGET, PROVENANCE = 10, 11, 12, 14
"""Exit statuses of verify.py."""
INTEGER = frozenset(
    (
        *("ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulInteger16"),
        *("MatMulIntegerToFloat", "QAttention", "QGemm", "QLinearConv", "QLinearConvTranspose", "QLinearMatMul"),
        *("QOrderedMatMul", "GatherBlockQuantized", "MatMulNBits"),
    )
)
"""Kernels that multiply integers, or keep their weights as blocks of integers."""
FLOATING = frozenset(
    (
        *("Attention", "Conv", "ConvTranspose", "Einsum", "FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation"),
        *("GRU", "Gemm", "GroupQueryAttention", "LSTM", "MatMul", "MultiHeadAttention", "RNN", "TransposeMatMul"),
    )
)
"""Kernels that multiply floating-point numbers."""
SLACK = 0.02
"""Share of the kernels that may be placed otherwise than recorded: another onnxruntime fuses a few operators otherwise."""
MARGIN = 1.25
"""A device of the same kind may take this many times the recorded p95."""
_WARM_UP, _LEAST_RUNS, _MOST_S = 3, 20, 5.0

Open = Callable[..., Any]
Kernels = Dict[str, Dict[str, int]]
Found = Tuple[str, str, str, int]
"""Name, status, detail and exit status of a check."""


def kernels(open_model: Open, model: str, feeds: Mapping[str, Any], provider: str) -> Optional[Kernels]:
    """Return how many kernels of each operator each provider runs for `feeds`, or None where no profile can be written."""
    with tempfile.TemporaryDirectory(prefix="edgeopt-placement-") as folder:
        try:
            session = open_model(model, provider, profile=os.path.join(folder, "profile"))
            session.run(None, dict(feeds))
            session.end_profiling()
            (path,) = glob.glob(os.path.join(folder, "profile*"))
            with open(path, encoding="utf-8", errors="replace") as file:
                events = json.load(file)
        except (OSError, ValueError, RecursionError):
            return None
    seen = set()
    for event in events:
        about = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and "op_name" in about:
            seen.add((about.get("provider", provider), about["op_name"], event["name"], about.get("node_index")))
    counts: Kernels = {}
    for name, operator, _, _ in seen:
        of_provider = counts.setdefault(name, {})
        of_provider[operator] = of_provider.get(operator, 0) + 1
    return counts


def products(counts: Kernels) -> Tuple[int, int]:
    """Return how many kernels multiply integers, and how many multiply at all."""
    operators: Counter[str] = Counter()
    for of_provider in counts.values():
        operators.update(of_provider)
    integers = sum(operators[name] for name in INTEGER)
    return integers, integers + sum(operators[name] for name in FLOATING)


def device() -> Dict[str, Any]:
    """Return what this device is, as far as latency depends on it."""
    text = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        pass
    name = re.search(r"^(?:model name|Hardware|Processor)\s*:\s*(.+)$", text, re.MULTILINE)
    cpu = name[1].strip() if name else platform.processor() or platform.machine()
    return {"cpu": cpu, "machine": platform.machine(), "cores": os.cpu_count()}


def latency(session: Any, feeds: Mapping[str, Any], clock: Callable[[], float] = time.perf_counter) -> Dict[str, Any]:
    """Return p50 and p95 of running `feeds`, in ms: at least 20 runs after 3 that do not count, for half a second to 5."""
    for _ in range(_WARM_UP):
        session.run(None, dict(feeds))
    samples: List[float] = []
    begin = clock()
    while (len(samples) < _LEAST_RUNS or clock() - begin < 0.5) and (clock() - begin < _MOST_S or not samples):
        start = clock()
        session.run(None, dict(feeds))
        samples.append(1000 * (clock() - start))
    ordered = sorted(samples)
    p50, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95))
    return {"p50_ms": float(f"{p50:.4g}"), "p95_ms": float(f"{p95:.4g}"), "runs": len(samples), "threads": 1}


def record(open_model: Open, model: str, feeds: Mapping[str, Any], provider: str, timed: bool) -> Dict[str, Any]:
    """Return what a bundle shall expect: placement and, if `timed`, latency here."""
    import onnxruntime as ort

    counts = kernels(open_model, model, feeds, provider)
    placement = [] if counts is None else [{"provider": provider, "onnxruntime": ort.__version__, "kernels": counts}]
    envelope = None
    if timed:
        measured = latency(open_model(model, provider), feeds)
        envelope = {**measured, "provider": provider, "onnxruntime": ort.__version__, "device": device()}
    return {"placement": placement, "latency": envelope}


def check(
    expected: Any, model: str, feeds: Mapping[str, Any], provider: str, *, open_model: Open, budget: Optional[str]
) -> List[Found]:
    """Compare this device with what the bundle expects; `budget` is None, "recorded" or a p95 in ms."""
    found: List[Found] = []
    if isinstance(expected, dict):
        entry = next((one for one in expected.get("placement", []) if one.get("provider") == provider), None)
        counts = None if entry is None else kernels(open_model, model, feeds, provider)
        if entry is None:
            found.append(("placement", "passed", f"not asked: none is recorded for {provider}", 0))
        elif counts is None:
            found.append(("placement", "passed", "not asked: this onnxruntime writes no profile that can be read", 0))
        else:
            found += [placed(counts, entry, provider), covered(counts, entry)]
    if budget is not None:
        recorded = expected.get("latency") if isinstance(expected, dict) else None
        found.append(in_time(open_model(model, provider), feeds, budget, recorded, device()))
    return found


def placed(counts: Kernels, entry: Mapping[str, Any], provider: str) -> Found:
    """Say whether no more kernels than recorded run off `provider`."""
    total = sum(sum(of_provider.values()) for of_provider in counts.values())
    away, allowed = _away(counts, provider), _away(entry["kernels"], provider)
    extra = sum(away.values()) - sum(allowed.values())
    if extra > SLACK * total:
        names = ", ".join(f"{name} ({count})" for name, count in (away - allowed).most_common(5))
        known = f"recorded are {sum(allowed.values())}"
        detail = f"{sum(away.values())} of {total} kernels do not run on {provider}, {known}; among them {names}"
        return "placement", "failed", detail, PLACEMENT
    return "placement", "passed", f"{provider} runs {total - sum(away.values())} of {total} kernels, as recorded", 0


def _away(counts: Kernels, provider: str) -> Counter[str]:
    away: Counter[str] = Counter()
    for name, of_provider in counts.items():
        if name != provider:
            away.update(of_provider)
    return away


def covered(counts: Kernels, entry: Mapping[str, Any]) -> Found:
    """Say whether the share of integer kernels is as high as recorded."""
    integers, total = products(counts)
    wanted, of = products(entry["kernels"])
    if not wanted:
        return "coverage", "passed", f"no integer kernels are expected; {total} multiply floating-point numbers", 0
    share, recorded = integers / total if total else 0.0, wanted / of
    detail = f"{integers} of {total} kernels that multiply do so on integers ({share:.0%}), recorded are {wanted} of {of}"
    if share < recorded - SLACK:
        operators = sorted({name for kinds in counts.values() for name in kinds if name in FLOATING})
        detail += f" ({recorded:.0%}): {', '.join(operators) or 'they'} fell back to floating point"
        return "coverage", "failed", detail, COVERAGE
    return "coverage", "passed", detail, 0


def in_time(session: Any, feeds: Mapping[str, Any], budget: str, recorded: Any, here: Mapping[str, Any]) -> Found:
    """Say whether p95 keeps a budget in ms, or stays near the recorded one, which is asked of the same kind of device only."""
    if budget == "recorded":
        if not isinstance(recorded, dict):
            return "latency", "unchecked", "the bundle records no latency; name a budget in ms", 2
        if recorded["device"] != dict(here):
            made, this = _named(recorded["device"]), _named(here)
            return "latency", "unchecked", f"recorded on {made}, this is {this}; name a budget in ms", 2
        limit, why = recorded["p95_ms"] * MARGIN, f"{MARGIN:g} × the recorded {recorded['p95_ms']:g} ms"
    else:
        limit, why = float(budget), "the budget"
    took = latency(session, feeds)
    detail = f"p95 {took['p95_ms']:g} ms of {took['runs']} runs (p50 {took['p50_ms']:g} ms, 1 thread) on {_named(here)}"
    if took["p95_ms"] > limit:
        over = took["p95_ms"] - limit
        return "latency", "failed", f"{detail}: {over:.3g} ms over {limit:.4g} ms, {why}", BUDGET
    return "latency", "passed", f"{detail}: within {limit:.4g} ms, {why}", 0


def _named(about: Mapping[str, Any]) -> str:
    return f"{about.get('cpu')} ({about.get('cores')} cores, {about.get('machine')})"
