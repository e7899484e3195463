"""Generated graphs through every scheme and target: each is quantized validly or refused in one line.

    python -m benchmarks.sweep.graphs [--count 100] [--seed 0] [--targets x86-vnni arm64 …]

A graph is a chain of one to eight random layers (convolutions of all kinds, products, normalisations, activation functions,
pooling, shapes, residual additions) on random inputs, its names taken from those that quantizers make up themselves. A fault is
any exception that is not edgeopt's own, a file that onnxruntime does not load, or numbers that are not finite where they were.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

import edgeopt
from edgeopt.errors import EdgeoptError, InternalError
from edgeopt.quantize import QuantizeConfig

_TARGETS = ("x86-vnni", "x86-avx2", "arm64", "tensorrt", "nnapi")
_SCHEMES = ("static", "dynamic", "float16", "bfloat16", "weights-int8", "weights-int4")
_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Elu", "Softplus", "Abs", "Neg", "Erf")
_NAMES = ("{}", "{}_scale", "{}_zero_point", "{}_quantized", "{}_DequantizeLinear_Output", "{}/q:0")
Batch = dict[str, np.ndarray]


@dataclass
class Draft:
    """A graph in the making: its last tensor and that tensor's channels (None: flat rows)."""

    random: np.random.Generator
    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]
    last: str = "x"
    channels: int = 4
    image: bool = True

    def weight(self, *shape: int) -> str:
        """Add a constant and return its name."""
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        values = (self.random.standard_normal(shape) * scale * 10 ** self.random.uniform(-2, 2)).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def add(self, op: str, *inputs: str, **attributes: object) -> None:
        """Append a node that reads the last tensor first."""
        name = str(self.random.choice(_NAMES)).format(f"t{len(self.nodes)}")
        self.nodes.append(helper.make_node(op, [self.last, *inputs], [name], f"n{len(self.nodes)}", **attributes))
        self.last = name


def _layer(draft: Draft) -> None:
    kind = draft.random.choice(["product", "activation", "silu", "norm", "residual", "pool", "flatten"])
    outputs = int(draft.random.choice([1, 3, 4, 8, 17]))
    if kind == "product" and draft.image:
        _convolution(draft, outputs)
    elif kind == "product":
        draft.add("Gemm", draft.weight(outputs, draft.channels), draft.weight(outputs), transB=1)
        draft.channels = outputs
    elif kind == "activation":
        draft.add(str(draft.random.choice(_ACTIVATIONS)))
    elif kind == "silu":
        read = draft.last
        draft.add("Sigmoid")
        draft.add("Mul", read)
    elif kind == "norm" and draft.image:
        parts = [draft.weight(draft.channels) for _ in range(3)]
        draft.constants.append(numpy_helper.from_array(np.full(draft.channels, 0.5, np.float32), f"c{len(draft.constants)}"))
        draft.add("BatchNormalization", *parts, draft.constants[-1].name)
    elif kind == "residual":
        read = draft.last
        draft.add("Tanh")
        draft.add("Add", read)
    elif kind == "pool" and draft.image:
        draft.add("AveragePool", kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1])
    elif kind == "flatten" and draft.image:
        draft.add("GlobalAveragePool")
        draft.add("Flatten")
        draft.image = False


def _convolution(draft: Draft, outputs: int) -> None:
    kind = draft.random.choice(["plain", "depthwise", "pointwise", "transposed"])
    channels, biased = draft.channels, draft.random.random() < 0.7
    if kind == "depthwise":
        shape, attributes, outputs = (channels, 1, 3, 3), {"group": channels, "pads": [1, 1, 1, 1]}, channels
    elif kind == "pointwise":
        shape, attributes = (outputs, channels, 1, 1), {}
    elif kind == "transposed":
        draft.add("ConvTranspose", draft.weight(channels, outputs, 2, 2), *([draft.weight(outputs)] if biased else []))
        draft.channels = outputs
        return
    else:
        shape, attributes = (outputs, channels, 3, 3), {"pads": [1, 1, 1, 1]}
    draft.add(
        "Conv", draft.weight(*shape), *([draft.weight(outputs)] if biased else []), kernel_shape=list(shape[2:]), **attributes
    )
    draft.channels = outputs


def graph(seed: int) -> tuple[onnx.ModelProto, list[Batch]]:
    """Return the generated model of this number, and inputs for it."""
    random = np.random.default_rng(seed)
    draft = Draft(random, [], [], channels=int(random.choice([1, 3, 4, 6])))
    channels = draft.channels
    for _ in range(int(random.integers(1, 9))):
        _layer(draft)
    draft.add("Identity")
    draft.nodes[-1].output[0] = "y"
    opset = int(random.choice([14, 17, 21]))
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", channels, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)]
    made = helper.make_graph(draft.nodes, "generated", inputs, outputs, draft.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    batches = [{"x": random.standard_normal((1, channels, 8, 8)).astype(np.float32)} for _ in range(4)]
    return model, batches


def _run(path: Path, batch: Batch) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    types = {"tensor(float16)": np.float16, "tensor(float)": np.float32}
    given = {item.name: batch[item.name].astype(types[item.type]) for item in session.get_inputs()}
    return np.asarray(session.run(None, given)[0], dtype=np.float32)


def _cases(targets: list[str]) -> Iterator[tuple[str, str]]:
    yield from ((target, "static") for target in targets)
    yield from ((targets[0], scheme) for scheme in _SCHEMES[1:])


def _tried(path: Path, batches: list[Batch], target: str, scheme: str) -> tuple[str, str]:
    """Return what became of the graph ("quantized", "refused" or "fault"), and what was said."""
    output = path.with_name("q.onnx")
    config = QuantizeConfig.read({"scheme": scheme}, where="the sweep")
    try:
        edgeopt.quantize(path, batches, target=edgeopt.load_target(target), output=output, config=config)
        got = _run(output, batches[0])
    except InternalError as error:
        return "fault", str(error)
    except EdgeoptError as error:
        return ("fault", "refusal of several lines") if "\n" in str(error) else ("refused", str(error))
    except Exception as error:  # noqa: BLE001  (any other exception is the finding)
        return "fault", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    if np.isfinite(_run(path, batches[0])).all() and not np.isfinite(got).all():
        return "fault", "the result is not finite where floating point's is"
    return "quantized", ""


def main() -> None:
    """Sweep, print every fault, and exit with 1 if there was one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", default=list(_TARGETS))
    arguments = parser.parse_args()
    found: Counter[str] = Counter()
    for number in range(arguments.seed, arguments.seed + arguments.count):
        model, batches = graph(number)
        with tempfile.TemporaryDirectory(prefix="edgeopt-sweep-") as folder:
            path = Path(folder) / "model.onnx"
            onnx.save(model, path)
            for target, scheme in _cases(arguments.targets):
                outcome, said = _tried(path, batches, target, scheme)
                found[outcome] += 1
                if outcome != "quantized":
                    print(f"graph {number}, {target}, {scheme}: {outcome}: {said.replace(folder, '')}", flush=True)
    print(f"{arguments.count} graphs: " + ", ".join(f"{count} {outcome}" for outcome, count in found.items()))
    sys.exit(bool(found["fault"]))


if __name__ == "__main__":
    main()
