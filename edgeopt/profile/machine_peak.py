"""Peak rates of a device, measured through the same runner and provider as the models (the roof of the roofline).

Idea. An operator takes at least max(2·MACs / peak arithmetic, bytes / bandwidth) (Williams, Waterman & Patterson,
"Roofline", CACM 52(4), 2009). The peaks are not taken from a data sheet: they are the best that onnxruntime reaches here on
matrix products of several sizes (fp32 and u8·s8) and on adding two arrays of several sizes, from cache-resident to far
beyond any cache. The fastest tenth of the runs counts, because a roof is the rate of an undisturbed machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeopt.errors import IntegrityError, MachineError
from edgeopt.files import write_json
from edgeopt.graph.files import serialized
from edgeopt.hashed_files import SEAL, check_seal, json_hash, sealed_json
from edgeopt.lifetime import temporary_folder
from edgeopt.profile.peak import Bandwidth, Peak
from edgeopt.targets.replies import Hello
from edgeopt.targets.requests import Duration, time_alone
from edgeopt.targets.runner import Runner, write_batches
from edgeopt.targets.transports import Connection

_PRODUCTS = ((64, 1024, 1024), (256, 512, 512), (256, 1024, 1024))
_SUM_BYTES = (3 << 16, 3 << 20, 3 << 22, 3 << 25)
_DURATION = Duration(0.08, fewest=5, most=2000)


def find_peak(connection: Connection, runner: Runner, session: Mapping[str, Any], hello: Hello) -> Peak:
    """Return the device's peak for `session` (provider, options, threads): cached, or measured now (a second) and cached."""
    asked = {
        "device": hello.device,
        "versions": hello.versions,
        "session": dict(session),
        "sizes": [_PRODUCTS, _SUM_BYTES],
    }
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
    path = _cache_folder() / f"{name}.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        check_seal(path, stored.get(SEAL), json_hash(stored), advice="measured again")
        return Peak(stored["operations_per_s"], [Bandwidth(**level) for level in stored["bandwidth"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, IntegrityError):
        peak = measure_peak(connection, runner, session)
        with suppress(MachineError, OSError):  # a home that cannot be written: measured again the next time
            write_json(path, sealed_json(asdict(peak)))
        return peak


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgeopt" / "peaks"


def measure_peak(connection: Connection, runner: Runner, session: Mapping[str, Any]) -> Peak:
    """Measure the device's peak."""
    with temporary_folder("edgeopt-peak-") as name:
        bench = _Bench(connection, runner, session, Path(name))
        float_best = max(bench.product_rate(size, integer=False) for size in _PRODUCTS)
        integer_best = max(bench.product_rate(size, integer=True) for size in _PRODUCTS)
        levels = [Bandwidth(size, bench.sum_rate(size)) for size in _SUM_BYTES]
    return Peak({"fp32": float_best, "int8": max(integer_best, float_best)}, levels)


@dataclass
class _Bench:
    """Runs small models built for the measurement."""

    connection: Connection
    runner: Runner
    session: Mapping[str, Any]
    folder: Path
    count: int = 0

    def product_rate(self, size: tuple[int, int, int], *, integer: bool) -> float:
        """Return operations per second of a product of `size` = (M, K, N), each MAC as two operations."""
        m, k, n = size
        a = np.ones((m, k), np.uint8 if integer else np.float32)
        return 2 * m * k * n / self._fastest_s(_product(size, integer=integer), {"a": a})

    def sum_rate(self, size_bytes: int) -> float:
        """Return bytes per second of c = a + b, `size_bytes` in all."""
        count = size_bytes // 12
        a, b, c = (_value(name, ir.DataType.FLOAT, count) for name in "abc")
        array = np.ones(count, np.float32)
        return size_bytes / self._fastest_s(_model(ir.node("Add", [a, b], outputs=[c]), [a, b]), {"a": array, "b": array})

    def _fastest_s(self, model: ir.Model, batch: dict[str, Any]) -> float:
        self.count += 1
        path, inputs = self.folder / f"{self.count}.onnx", self.folder / f"{self.count}.npz"
        path.write_bytes(serialized(model))
        write_batches([batch], inputs)
        times = time_alone(self.connection, self.runner, (path, inputs), self.session, _DURATION)
        return float(np.quantile(times, 0.1)) / 1e9


def _product(size: tuple[int, int, int], *, integer: bool) -> ir.Model:
    """Return c [m, n] = a [m, k] · b [k, n] with a constant b, as fp32 or u8·s8."""
    m, k, n = size
    values = np.random.default_rng(0).integers(-64, 64, (k, n)).astype(np.int8 if integer else np.float32)
    a = _value("a", ir.DataType.UINT8 if integer else ir.DataType.FLOAT, m, k)
    c = _value("c", ir.DataType.INT32 if integer else ir.DataType.FLOAT, m, n)
    b = ir.Value(name="b", const_value=ir.tensor(values, name="b"))
    return _model(ir.node("MatMulInteger" if integer else "MatMul", [a, b], outputs=[c]), [a], [b])


def _value(name: str, dtype: ir.DataType, *sizes: int) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(sizes))


def _model(node: ir.Node, inputs: Sequence[ir.Value], constants: Sequence[ir.Value] = ()) -> ir.Model:
    """Return a model of one node."""
    graph = ir.Graph(inputs, node.outputs, nodes=[node], initializers=constants, opset_imports={"": 17}, name="peak")
    return ir.Model(graph, ir_version=8)
