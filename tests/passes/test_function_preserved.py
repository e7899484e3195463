"""Every pass, and every pipeline, preserves the function of generated graphs.

Graphs are drawn node by node from what the passes look for, in forms that match and forms that nearly do: linear layers with
the bias on either side or of another shape, activations, norms (whole and taken apart), attentions with their reshapes and
masks, gates, rotations, reshapes to rows and back, images with means, and rows that are chosen at the end.

Tolerance: passes only move float32 operations or merge a sum into a product, so values change by rounding: at most about
2⁻²⁴ for each of some 40 terms of a sum, through a dozen layers that norms keep at a size of 1; 1e-4 of the largest value is
four times that, and far below what a wrong row, bias, axis or scale gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeopt.graph.editing import remove_unused
from edgeopt.graph.files import as_ir
from edgeopt.graph.shapes import infer_types
from edgeopt.passes import pipelines
from edgeopt.passes.bias_vectors import BiasVectors
from edgeopt.passes.rewrite import Rewrite

WIDTH, HEADS = 8, 2
PASSES: dict[str, Callable[[], Rewrite]] = {kind.__name__: kind for kind in pipelines.EXPORT}
PASSES |= {step.title: step.make for step in (*pipelines.QUANTIZE_FOR_CPU, *pipelines.QUANTIZE_FOR_NPU)}
PASSES["BiasVectors"] = BiasVectors


@dataclass
class Drawn:
    """A graph in the making: lines of ONNX text, constants, and the tensors [b, s, 8] there are."""

    draw: Callable[..., object]
    lines: list[str] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    whole: list[str] = field(default_factory=lambda: ["x"])

    def pick(self, options: Sequence[str]) -> str:
        return str(self.draw(st.sampled_from(list(options))))

    def tensor(self) -> str:
        return self.pick(self.whole[-3:])

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        name = f"w{len(self.weights)}"
        generator = np.random.default_rng(len(self.weights))
        self.weights[name] = np.asarray(generator.standard_normal(shape) * scale / np.sqrt(max(shape[:1] or (1,))), np.float32)
        return name

    def shape(self, *sizes: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.array(sizes, np.int64)
        return name

    def scalar(self, value: float | int) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.array(value, np.int64 if isinstance(value, int) else np.float32)
        return name

    def node(self, call: str) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {call}")
        return name

    def linear(self, x: str, width: int = WIDTH) -> str:
        product = self.node(f"MatMul({x}, {self.weight(WIDTH, width)})")
        form = self.pick(["none", "right", "left", "row"])
        if form == "none":
            return product
        bias = self.weight(*((1, 1, width) if form == "row" else (width,)))
        return self.node(f"Add({bias}, {product})" if form == "left" else f"Add({product}, {bias})")


def _linear(graph: Drawn) -> str:
    return graph.linear(graph.tensor())


def _unary(graph: Drawn) -> str:
    op = graph.pick(["Gelu", "Relu", "Sigmoid", "Tanh", "Erf", "HardSwish", "Mish", "Identity", "Cast<to = 1>"])
    return graph.node(f"{op}({graph.tensor()})")


def _binary(graph: Drawn) -> str:
    operand = graph.pick([*graph.whole[-3:], "vector", "scalar", "column"])
    if operand in {"vector", "scalar", "column"}:
        operand = graph.weight(*{"vector": (WIDTH,), "scalar": (), "column": (1, 1, 1)}[operand])
    return graph.node(f"{graph.pick(['Add', 'Mul', 'Sub', 'Max', 'Sum'])}({graph.tensor()}, {operand})")


def _norm(graph: Drawn) -> str:
    x = graph.node(f"Add({graph.tensor()}, {graph.tensor()})")
    axis = graph.pick(["-1", "2"])
    form = graph.pick(["layer", "rms", "apart", "softmax", "softmax of rows"])
    if form == "layer":
        return graph.node(f"LayerNormalization<axis = {axis}>({x}, {graph.weight(WIDTH)}, {graph.weight(WIDTH)})")
    if form == "rms":
        return graph.node(f"RMSNormalization<axis = {axis}>({x}, {graph.weight(WIDTH)})")
    if form.startswith("softmax"):
        return graph.node(f"Softmax<axis = {axis if form == 'softmax' else 1}>({x})")
    square = graph.node(f"Pow({x}, {graph.scalar(2.0)})")
    mean = graph.node(f"ReduceMean({square}, {graph.shape(int(axis))})")
    root = graph.node(f"Sqrt({graph.node(f'Add({mean}, {graph.scalar(0.01)})')})")
    scaled = graph.node(f"Mul({x}, {graph.node(f'Reciprocal({root})')})")
    return graph.node(f"Mul({graph.weight(WIDTH)}, {scaled})")


def _heads(graph: Drawn, x: str) -> str:
    shape = graph.shape(0, 0, HEADS, WIDTH // HEADS)
    return graph.node(f"Transpose<perm = [0, 2, 1, 3]>({graph.node(f'Reshape({x}, {shape})')})")


def _attention(graph: Drawn) -> str:
    source = graph.tensor()
    query, key, value = (graph.linear(graph.pick([source, graph.tensor()])) for _ in range(3))
    if graph.draw(st.booleans()):
        query = graph.node(f"Mul({query}, {graph.scalar(0.5)})")
    mask = graph.pick(["", ", mask"])
    scale = graph.pick(["scale = 1.0", "scale = 0.25"])
    if graph.draw(st.booleans()):
        if graph.draw(st.booleans()):  # a shape that the graph computes
            sizes = graph.node(f"Concat<axis = 0>({graph.node(f'Shape<end = 2>({source})')}, {graph.shape(WIDTH)})")
            value = graph.node(f"Reshape({value}, {sizes})")
        attributes = f"q_num_heads = {HEADS}, kv_num_heads = {HEADS}, {scale}"
        return graph.node(f"Attention<{attributes}>({query}, {key}, {value}{mask})")
    heads = [_heads(graph, item) for item in (query, key, value)]
    result = graph.node(f"Attention<{scale}>({', '.join(heads)}{mask})")
    joined = graph.node(f"Transpose<perm = [0, 2, 1, 3]>({result})")
    return graph.node(f"Reshape({joined}, {graph.shape(0, 0, WIDTH)})")


def _gates(graph: Drawn) -> str:
    whole = graph.linear(graph.tensor(), 2 * WIDTH)
    gate = f"t{len(graph.lines)}"
    graph.lines.append(f"{gate}, {gate}b = Split<axis = {graph.pick(['-1', '2'])}>({whole}, {graph.shape(WIDTH, WIDTH)})")
    return graph.node(f"Mul({graph.node(f'Sigmoid({gate})')}, {gate}b)")


def _rows(graph: Drawn) -> str:
    """Reshape to rows, multiply, and shape back."""
    x = graph.tensor()
    flat = graph.node(f"Reshape({x}, {graph.shape(-1, WIDTH)})")
    biases = ["", f", {graph.weight(WIDTH)}", f", {graph.weight(1, WIDTH)}", f", {graph.weight()}", ", computed"]
    bias = graph.pick(biases).replace("computed", graph.node(f"Tanh({flat})"))
    product = graph.node(f"Gemm({flat}, {graph.weight(WIDTH, WIDTH)}{bias})")
    again = graph.node(f"Reshape({product}, {graph.shape(-1, WIDTH // 2)})") if graph.draw(st.booleans()) else product
    sizes = graph.node(f"Shape({x})")
    return graph.node(f"Reshape({again}, {sizes})")


def _turned(graph: Drawn) -> str:
    weight = graph.node(f"Transpose<perm = [1, 0]>({graph.weight(WIDTH, WIDTH)})")
    return graph.node(f"MatMul({graph.tensor()}, {weight})")


STEPS = (_linear, _linear, _unary, _binary, _norm, _attention, _gates, _rows, _turned)


@st.composite
def graphs(draw: Callable[..., object]) -> onnx.ModelProto:
    graph = Drawn(draw)
    for _ in range(int(str(draw(st.integers(1, 6))))):
        step = draw(st.sampled_from(STEPS))
        graph.whole.append(step(graph))  # type: ignore[operator]
    y = graph.node(f"Identity({graph.whole[-1]})") if draw(st.booleans()) else graph.whole[-1]
    if draw(st.booleans()):
        row = graph.scalar(int(str(draw(st.sampled_from([0, -1])))))
        y = graph.linear(graph.node(f"Gather<axis = 1>({y}, {row})"))
    outputs = ", ".join(f"float {name}" for name in dict.fromkeys([y, *([graph.whole[-2]] if draw(st.booleans()) else [])]))
    if outputs.endswith(" x") or " x," in outputs:
        outputs = f"float {y}"
    leading = draw(st.sampled_from(["b,s", "b,3", "2,3"]))
    size = str(leading).split(",")[1]
    inputs = f"float[{leading},{WIDTH}] x, bool[{str(leading).split(',')[0]},1,{size},{size}] mask"
    text = f'<ir_version: 10, opset_import: ["" : 24]> g ({inputs}) => ({outputs}) {{ {"  ".join(graph.lines)} }}'
    model = onnx.parser.parse_model(text)
    for name, values in graph.weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for value in model.graph.output:  # "float y" is a scalar; what it is inference says
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _results(model: onnx.ModelProto) -> list[np.ndarray]:
    generator = np.random.default_rng(7)
    mask = generator.random((2, 1, 3, 3)) < 0.7
    mask[..., 0] = True
    feeds = {"x": generator.standard_normal((2, 3, WIDTH)).astype(np.float32), "mask": mask}
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def check(model: onnx.ModelProto, change: Callable[[ir.Model], object]) -> None:
    before = _results(model)
    after = as_ir(model)
    names = [value.name for value in after.graph.outputs]
    change(after)
    remove_unused(after)
    made = ir.to_proto(after)
    onnx.checker.check_model(made, full_check=True)
    assert [value.name for value in made.graph.output] == names
    for name, expected, got in zip(names, before, _results(made), strict=True):
        assert got.shape == expected.shape
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * scale, err_msg=str(name))


FAST = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", PASSES)
@FAST
@given(model=graphs())
def test_each_pass_alone(name, model):
    check(model, PASSES[name]())


@FAST
@given(model=graphs())
def test_the_pipeline_of_export(model):
    check(model, pipelines.optimize)


@FAST
@given(model=graphs())
def test_the_pipelines_of_quantize(model):
    steps = (*pipelines.QUANTIZE_FOR_CPU, *pipelines.QUANTIZE_FOR_NPU)
    check(model, lambda loaded: pipelines.run(loaded, steps, changed=infer_types))


def test_the_graphs_give_the_passes_something_to_do():
    counts = dict.fromkeys(PASSES, 0)

    @settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(model=graphs())
    def look(model):
        for name, make in PASSES.items():
            rewrite = make()
            rewrite(as_ir(model))
            counts[name] += rewrite.count > 0

    look()
    not_drawn = {"ConvTypes", "RecurrentWeights", "FuseRotary", "InstanceNorm", "FuseCache", "PackedHeads"}
    not_drawn |= {"pooled means", "bounded masks"}
    idle = {name for name, count in counts.items() if not count}
    assert idle <= not_drawn, f"nothing drawn that these rewrite: {idle - not_drawn}"
