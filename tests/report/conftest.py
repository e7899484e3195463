"""A made-up run with plausible figures. Nothing in it was measured: it exists to be formatted."""

import copy
import math
import random
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import strategies as st

from edgeopt.report import RunRecord, StageRecord, build_report
from edgeopt.roles import Role, role_of

_KINDS = {
    "fp32": ["Conv", "Relu", "Add", "Gemm", "GlobalAveragePool"],
    "int8": ["QLinearConv", "QLinearAdd", "QGemm", "QuantizeLinear"],
}


def _size(parameters: int, size_bytes: int, macs: int) -> dict[str, int]:
    return {"parameters": parameters, "size_bytes": size_bytes, "macs": macs}


def _history(epochs: int, start: float, best: float) -> list[dict[str, Any]]:
    return [
        {"epoch": k + 1, "loss": start * math.exp(-0.45 * k) + 0.03, "accuracy": best - (best - 0.6) * math.exp(-0.8 * k)}
        for k in range(epochs)
    ]


def _samples(random_: random.Random, median: float, count: int) -> list[float]:
    return [round(median * math.exp(abs(random_.gauss(0, 0.03))) + (random_.random() < 0.01) * median, 6) for _ in range(count)]


def _latency(median: float) -> list[dict[str, Any]]:
    return [
        {
            "statistic": name,
            "value_ms": median * factor,
            "low_ms": median * factor * 0.99,
            "high_ms": median * factor * 1.015,
            "confidence": 0.95,
        }
        for name, factor in (("p50", 1.0), ("p90", 1.06), ("p95", 1.09))
    ]


def _profiled(random_: random.Random, name: str, median: float, size: int) -> dict[str, Any]:
    kinds = _KINDS.get(name, _KINDS["fp32"])
    parts = [median * 0.55 * 0.5**k for k in range(len(kinds))]
    operators = [
        {
            "name": f"/stage{k % 2}/{kind}_{k}",
            "op": kind,
            "provider": "CPUExecutionProvider",
            "ms": part / 2,
            "share": part / 2 / median,
            "macs": 0,
            "bytes": 0,
            "kind": None,
            "bound_ms": None,
        }
        for kind, part in zip(kinds, parts, strict=True)
        for k in range(2)
    ]
    return {
        "name": name,
        "size_bytes": size,
        "load_ms": 9.5,
        "first_run_ms": median * 3,
        "warmup_runs": 24,
        "n": 1800,
        "latency": _latency(median),
        "withheld": [{"statistic": "p99.9", "needs_runs": 6636}],
        "samples_ms": _samples(random_, median, 400),
        "peak_rss_bytes": 71_000_000 if name == "fp32" else 68_000_000,
        "operators": operators,
        "model_rss_bytes": 12_000_000,
        "cold_starts": 5,
        "steady": True,
        "effective_n": 1500.0,
        "outliers": 3,
        "outliers_waiting": 1,
        "drift_share": 0.0,
        "samples_thinned": False,
        "modules": [],
        "arena_peak_bytes": None,
        "memory_timeline": [],
        "macs": 1_340_000,
        "int8_macs_share": None,
        "conversion_share": 0.02,
        "floor_ms": None,
        "instructions": None,
        "placement": None,
        "numerics": None,
    }


def _prune() -> dict[str, Any]:
    return {
        "before": {"parameters": 128_000, "size_bytes": 521_000, "macs": 2_700_000},
        "after": {"parameters": 64_000, "size_bytes": 262_000, "macs": 1_340_000},
        "layers": [{"name": "stem", "channels_before": 40, "channels_after": 28}],
        "spared": {},
        "history": _history(8, 0.9, 0.9861),
    }


def _export() -> dict[str, Any]:
    return {
        "opset": 24,
        "nodes": 34,
        "op_counts": {"Conv": 12},
        "parity": {
            "max_abs_error": 2e-6,
            "relative_error": 3e-7,
            "tolerance": 1e-4,
            "samples": 16,
            "shapes": [],
            "passed": True,
        },
        "size_bytes": 268_500,
        "dtype": "float32",
        "attention": "fused",
        "projections": "apart",
        "family": "generic",
        "task": "image-classification",
        "inputs": [{"name": "pixels", "dtype": "float32", "shape": ["batch", 1, 8, 8]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", 10]}],
        "passes": {},
        "warnings": [],
    }


def _quantize() -> dict[str, Any]:
    layers = [
        {"name": f"/stage{k // 6}/block{k % 6}/conv", "op": "Conv", "sqnr_db": 38 - 0.6 * k + 6 * math.sin(1.7 * k)}
        for k in range(24)
    ]
    layers[17]["sqnr_db"] = 17.2
    return {
        "target": "x86-vnni",
        "scheme": {
            "activation": "uint8",
            "weight": "int8",
            "per_channel": True,
            "symmetric_activation": False,
            "symmetric_weight": True,
        },
        "sensitivity": [],
        "samples": 128,
        "tensors": 31,
        "coverage": {
            "int8_macs_share": 0.993,
            "islands": [{"node": "/head/pool", "op": "GlobalAveragePool", "reason": "its kernel has no integer form here"}],
        },
        "layers": layers,
        "decisions": [
            {"what": "activations", "choice": "uint8, asymmetric", "reason": "VNNI multiplies u8 by s8"},
            {"what": "/head/pool", "choice": "float32", "reason": "SQNR 11 dB if quantized"},
        ],
        "warnings": ["1 of 31 tensors has a range that one sample alone sets: /stem/conv"],
        "size_bytes_before": 268_500,
        "size_bytes_after": 84_300,
    }


def _verify() -> dict[str, Any]:
    verified = [
        ("teacher", "teacher", 0.9917, 2_812_000, 698_000, 11_900_000),
        ("distill", "distill", 0.9889, 521_000, 128_000, 2_700_000),
        ("prune", "prune", 0.9861, 262_000, 64_000, 1_340_000),
        ("fp32", "export", 0.9861, 268_500, 64_000, 1_340_000),
        ("int8", "quantize", 0.9833, 84_300, 64_000, 1_340_000),
    ]
    return {
        "metric": "accuracy",
        "samples": 360,
        "confidence": 0.95,
        "variants": [
            {
                "name": name,
                "role": role_of(name).value,
                "stage": stage,
                "accuracy": value,
                "low": value - 0.014,
                "high": min(1.0, value + 0.006),
                "agreement": None if name == "teacher" else value - 0.002,
                "size_bytes": size,
                "parameters": parameters,
                "macs": macs,
            }
            for name, stage, value, size, parameters, macs in verified
        ],
        "divergence": [
            {
                "source": "prune",
                "result": "fp32",
                "output": "logits",
                "max_abs_error": 2e-6,
                "relative_error": 3e-7,
                "first_tensor": None,
            },
            {
                "source": "fp32",
                "result": "int8",
                "output": "logits",
                "max_abs_error": 0.61,
                "relative_error": 0.031,
                "first_tensor": "/stage2/block5/conv",
            },
        ],
        "verdict": "pass",
        "reason": "int8 loses 0.28 points of accuracy against fp32 (1 allowed)",
        "whole_verdict": "pass",
        "whole_reason": "int8 loses 0.84 points of accuracy against the teacher (5 allowed)",
    }


def _profile() -> dict[str, Any]:
    random_ = random.Random(0)
    return {
        "target": "x86-vnni",
        "device": {"processor": "Synthetic CPU", "machine": "x86_64", "cores": 2, "memory_bytes": 8_000_000_000},
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "versions": {"onnxruntime": "1.32.0"},
        "variants": [
            _profiled(random_, "fp32", 0.146, 268_500),
            _profiled(random_, "int8", 0.0612, 84_300),
            _profiled(random_, "teacher", 1.21, 2_801_000),
            _profiled(random_, "distill", 0.291, 519_000),
        ],
        "comparisons": [
            {
                "a": "fp32",
                "b": "int8",
                "ratio": 0.419,
                "low": 0.414,
                "high": 0.425,
                "confidence": 0.95,
                "rounds": 60,
                "decision": "faster",
            },
            {
                "a": "fp32",
                "b": "teacher",
                "ratio": 8.29,
                "low": 8.2,
                "high": 8.4,
                "confidence": 0.95,
                "rounds": 60,
                "decision": "slower",
            },
        ],
        "budgets": [
            {
                "expression": "p95_ms<=1.0",
                "variant": "int8",
                "verdict": "pass",
                "value": 0.067,
                "reason": "p95 is 0.0667 ms, at most 0.0677 ms with 95 % confidence",
            },
            {
                "expression": "size_bytes<=150000",
                "variant": "int8",
                "verdict": "pass",
                "value": 84300,
                "reason": "84,300 bytes",
            },
        ],
        "seconds": 10.0,
        "elapsed_s": 9.7,
        "overhead_ns": 80.0,
        "batches": 4,
        "call": "io_binding",
        "verdict": "pass",
        "emulated": False,
        "conditions": None,
        "warnings": ["other processes kept 0.7 cores busy: intervals are wider than on a quiet machine"],
    }


def _bundle() -> dict[str, Any]:
    return {
        "path": "bundle",
        "sha256": "5f" * 32,
        "minimum_onnxruntime": "1.24",
        "files": [
            {"path": "bundle.json", "sha256": "ab" * 32, "size_bytes": 3120},
            {"path": "golden.npz", "sha256": "0c" * 32, "size_bytes": 4410},
            {"path": "model.onnx", "sha256": "cd" * 32, "size_bytes": 84_300},
        ],
        "verified": True,
        "size_bytes": 91_830,
        "checks": ["model.onnx gives the golden outputs"],
    }


def full_facts() -> dict[str, dict[str, Any]]:
    """Facts of every stage of a run that went well."""
    return {
        "teacher": {**_size(698_000, 2_812_000, 11_900_000), "history": _history(6, 1.8, 0.9917)},
        "distill": {
            "teacher": _size(698_000, 2_812_000, 11_900_000),
            "student": _size(128_000, 521_000, 2_700_000),
            "steps": 480,
            "history": _history(12, 2.4, 0.9889),
        },
        "prune": _prune(),
        "export": _export(),
        "quantize": _quantize(),
        "verify": _verify(),
        "profile": _profile(),
        "bundle": _bundle(),
    }


def record_of(facts: dict[str, dict[str, Any]], **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "name": "quickstart",
        "recipe": {"name": "quickstart", "target": "x86-vnni", "seed": 0},
        "target": "x86-vnni",
        "stages": tuple(
            StageRecord(
                stage=name,
                key=f"{index:02x}" * 32,
                status="made" if index % 3 else "cached",
                seconds=1.7 * index + 0.4,
                facts=values,
            )
            for index, (name, values) in enumerate(facts.items())
        ),
        "versions": {"edgeopt": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.32.0"},
        "device": {"processor": "Synthetic CPU"},
    }
    return RunRecord(**{**values, **changes})


@pytest.fixture
def facts() -> dict[str, dict[str, Any]]:
    return copy.deepcopy(full_facts())


@pytest.fixture
def make_record() -> Any:
    return record_of


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`|\n# x [y](javascript:z)\x1b[31m"


def evil_everywhere(value):
    """Replace every text in the facts by hostile ones, keeping those that are read as keywords."""
    keep = {
        "pass",
        "fail",
        "faster",
        "slower",
        *Role,
        "fp32",
        "int8",
        "teacher",
        "distill",
        "prune",
        "p50",
        "p90",
        "p95",
        "p99.9",
    }
    if isinstance(value, dict):
        return {key: evil_everywhere(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil_everywhere(item) for item in value]
    return EVIL if isinstance(value, str) and value not in keep else value


@pytest.fixture
def report(facts, make_record):
    return build_report(make_record(facts))


@pytest.fixture
def evil(facts, make_record):
    hostile = evil_everywhere(facts)
    hostile["verify"]["variants"][1]["name"] = EVIL
    hostile["profile"]["variants"][3]["name"] = EVIL
    record = make_record(hostile, name=EVIL, target=EVIL, recipe={EVIL: EVIL}, versions={EVIL: EVIL}, device={EVIL: EVIL})
    return build_report(record)


class Page(HTMLParser):
    """Counts what matters: elements, script bodies, attributes that act."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.handlers, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.links += [value for name, value in attributes if name in {"src", "href", "action", "data"}]


def own_part(page):
    """The page without plotly's source."""
    start, end = page.index("<script>"), page.index('<script type="application/json"')
    return page[:start] + page[end:]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
