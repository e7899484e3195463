"""Every pass, and every pipeline, preserves the function of generated graphs.

Graphs are drawn node by node from what the passes look for, in forms that match and forms that nearly do: linear layers with
the bias on either side or of another shape, activations, norms (whole and taken apart), attentions with their reshapes and
masks, gates, rotations, caches, packed heads, recurrent layers, reshapes to rows and back, images with means, and rows that are
chosen at the end. The passes behind the quantizer get convolutions of 8-bit images.

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
from edgeopt.passes.conv_types import ConvTypes
from edgeopt.passes.input_channels import InputChannels
from edgeopt.passes.pointwise_products import PointwiseProducts
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
    cached: list[str] = field(default_factory=list)
    """Outputs beside the last tensor: keys and values of a decoder."""
    turned: list[str] = field(default_factory=list)
    """Tensors [b, 8, s] whose shape ONNX's inference does not find."""

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


def _packed(graph: Drawn) -> str:
    """View one product as query, key and value, and take them apart as slices."""
    x = graph.tensor()
    whole = graph.node(f"MatMul({x}, {graph.weight(WIDTH, 3 * WIDTH)})")
    view = graph.node(f"Reshape({whole}, {graph.shape(0, 0, 3, HEADS, WIDTH // HEADS)})")
    parts = []
    for part in range(3 if graph.draw(st.booleans()) else 2):
        axis = graph.pick(["2", "-3"])
        cut = graph.node(f"Slice({view}, {graph.shape(part)}, {graph.shape(part + 1)}, {graph.shape(int(axis))})")
        parts.append(graph.node(f"Squeeze({cut}, {graph.shape(2)})"))
    return graph.node(f"Reshape({graph.node(f'Sum({chr(44).join(parts)})')}, {graph.shape(0, 0, WIDTH)})")


def _rotated(graph: Drawn) -> str:
    """Rotate the halves of each head by angles that repeat, or that do not."""
    size = WIDTH // HEADS
    angles = graph.node(f"Slice({graph.tensor()}, {graph.shape(0)}, {graph.shape(size // 2)}, {graph.shape(2)})")
    other = graph.node(f"Neg({angles})") if graph.draw(st.booleans()) else angles
    both = graph.node(f"Concat<axis = -1>({angles}, {graph.pick([angles, other])})")
    cos, sin = (graph.node(f"Unsqueeze({graph.node(f'{op}({both})')}, {graph.shape(1)})") for op in ("Cos", "Sin"))
    x = _heads(graph, graph.tensor())
    low, high = ((0, size // 2), (size // 2, size))
    first, second = (
        graph.node(f"Slice({x}, {graph.shape(start)}, {graph.shape(end)}, {graph.shape(3)})") for start, end in (low, high)
    )
    turned = graph.node(f"Concat<axis = -1>({graph.node(f'Neg({second})')}, {first})")
    straight, across = graph.node(f"Mul({x}, {cos})"), graph.node(f"Mul({turned}, {sin})")
    pair = [straight, across] if graph.draw(st.booleans()) else [across, straight]
    joined = graph.node(f"Transpose<perm = [0, 2, 1, 3]>({graph.node(f'Add({pair[0]}, {pair[1]})')})")
    return graph.node(f"Reshape({joined}, {graph.shape(0, 0, WIDTH)})")


def _group_norm(graph: Drawn) -> str:
    channels = graph.node(f"Transpose<perm = [0, 2, 1]>({graph.tensor()})")
    groups = graph.pick([str(WIDTH), "2"])
    norm = graph.node(f"GroupNormalization<num_groups = {groups}>({channels}, {graph.weight(WIDTH)}, {graph.weight(WIDTH)})")
    graph.turned.append(norm)
    return graph.node(f"Transpose<perm = [0, 2, 1]>({norm})")


def _pooled(graph: Drawn) -> str:
    """Scale each row by its mean, taken over the last two of four axes or over others."""
    x = graph.tensor()
    image = graph.node(f"Reshape({x}, {graph.shape(0, 0, 2, WIDTH // 2)})")
    axes = graph.pick(["2, 3", "-1, -2", "3"])
    keep = graph.pick(["0", "1"])
    mean = graph.node(f"ReduceMean<keepdims = {keep}>({image}, {graph.shape(*map(int, axes.split(',')))})")
    if axes == "3":
        mean = graph.node(
            f"ReduceMean<keepdims = {keep}>({graph.node(f'Reshape({mean}, {graph.shape(0, 0, 2, 1)})')}, {graph.shape(2)})"
        )
    return graph.node(f"Mul({x}, {graph.node(f'Reshape({mean}, {graph.shape(0, 0, 1)})')})")


def _masked(graph: Drawn) -> str:
    """Attention written out, masked by a constant that stands for minus infinity or by one that does not."""
    x = graph.tensor()
    scores = graph.node(f"MatMul({x}, {graph.node(f'Transpose<perm = [0, 2, 1]>({x})')})")
    scores = graph.node(f"Tanh({scores})")
    deep = graph.scalar(float(graph.pick(["-3.4e38", "-1e9", "-50.0"])))
    bias = graph.node(f"Where({graph.node(f'Squeeze(mask, {graph.shape(1)})')}, {graph.scalar(0.0)}, {deep})")
    weights = graph.node(f"Softmax<axis = -1>({graph.node(f'Add({bias}, {scores})')})")
    return graph.node(f"MatMul({weights}, {x})")


def _cached(graph: Drawn) -> str:
    """Attend to a cache and to what is new; the lengthened cache is an output, or it is not."""
    x = graph.tensor()
    if graph.cached:
        return graph.linear(x)
    query, key, value = (_heads(graph, graph.linear(x)) for _ in range(3))
    axis = graph.pick(["2", "-2"])
    keys = graph.node(f"Concat<axis = {axis}>(past_key, {key})")
    values = graph.node(f"Concat<axis = {axis}>(past_value, {value})")
    graph.cached = [keys, values]
    joined = graph.node(f"Transpose<perm = [0, 2, 1, 3]>({graph.node(f'Attention({query}, {keys}, {values})')})")
    return graph.node(f"Reshape({joined}, {graph.shape(0, 0, WIDTH)})")


def _recurrent(graph: Drawn) -> str:
    """A recurrent layer whose weights the graph brings into ONNX's order."""
    steps = graph.node(f"Transpose<perm = [1, 0, 2]>({graph.tensor()})")
    kind, gates = {"LSTM": ("LSTM", 4), "GRU": ("GRU", 3)}[graph.pick(["LSTM", "GRU"])]
    operands = []
    for _ in range(2):
        parts = [f"t{len(graph.lines)}g{gate}" for gate in range(gates)]
        weight = graph.weight(gates * WIDTH, WIDTH)
        graph.lines.append(f"{', '.join(parts)} = Split<axis = 0, num_outputs = {gates}>({weight})")
        turned = graph.node(f"Concat<axis = 0>({', '.join([parts[0], *reversed(parts[1:])])})")
        operands.append(graph.node(f"Unsqueeze({turned}, {graph.shape(0)})"))
    result = graph.node(f"{kind}<hidden_size = {WIDTH}>({steps}, {', '.join(operands)})")
    return graph.node(f"Transpose<perm = [1, 0, 2]>({graph.node(f'Squeeze({result}, {graph.shape(1)})')})")


STEPS = (_linear, _linear, _unary, _binary, _norm, _attention, _gates, _rows, _turned)
STEPS += (_packed, _rotated, _group_norm, _pooled, _masked, _cached, _recurrent)


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
    results = [y, *([graph.whole[-2]] if draw(st.booleans()) else []), *(graph.cached if draw(st.booleans()) else [])]
    outputs = ", ".join(f"float {name}" for name in dict.fromkeys(results))
    if outputs.endswith(" x") or " x," in outputs:
        outputs = f"float {y}"
    leading = draw(st.sampled_from(["b,s", "b,3", "2,3"]))
    size = str(leading).split(",")[1]
    batch = str(leading).split(",")[0]
    inputs = f"float[{leading},{WIDTH}] x, bool[{batch},1,{size},{size}] mask"
    if graph.cached:
        past = f"float[{batch},{HEADS},p,{WIDTH // HEADS}]"
        inputs += f", {past} past_key, {past} past_value"
    text = f'<ir_version: 10, opset_import: ["" : 24]> g ({inputs}) => ({outputs}) {{ {"  ".join(graph.lines)} }}'
    model = onnx.parser.parse_model(text)
    for name, values in graph.weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for name in graph.turned:
        sizes = [int(axis) if axis.isdigit() else axis for axis in (batch, str(WIDTH), size)]
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes))
    for value in model.graph.output:  # "float y" is a scalar; what it is inference says
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _results(model: onnx.ModelProto) -> list[np.ndarray]:
    generator = np.random.default_rng(7)
    mask = generator.random((2, 1, 3, 3)) < 0.7
    mask[..., 0] = True
    feeds = {"x": generator.standard_normal((2, 3, WIDTH)).astype(np.float32), "mask": mask}
    for name in ("past_key", "past_value"):
        if any(value.name == name for value in model.graph.input):
            feeds[name] = generator.standard_normal((2, HEADS, 2, WIDTH // HEADS)).astype(np.float32)
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
    idle = {name for name, count in counts.items() if not count}
    elsewhere = {"ConvTypes", "FuseInterleavedRotary", "PartialRotary"}  # drawn below, or whole families in their own tests
    assert idle <= elsewhere, f"nothing drawn that these rewrite: {idle}"


@st.composite
def quantized_images(draw: Callable[..., object]) -> onnx.ModelProto:
    """Draw a convolution of 8-bit images: its size, groups, strides, bias (in floats, on integers, none) and consumers."""
    generator = np.random.default_rng(int(str(draw(st.integers(0, 9)))))
    channels, outputs = int(str(draw(st.sampled_from([3, 4, 6])))), int(str(draw(st.sampled_from([4, 8, 16]))))
    groups = int(str(draw(st.sampled_from([1, 1, 2])))) if channels % 2 == 0 else 1
    kernel = int(str(draw(st.sampled_from([1, 1, 3]))))
    strides = draw(st.sampled_from([1, 1, 2]))
    activation = str(draw(st.sampled_from(["uint8", "int8"])))
    per_channel = bool(draw(st.booleans()))
    bias = draw(st.sampled_from(["", "float", "int32"]))
    reads = draw(st.sampled_from(["Relu (c)", "Relu (DequantizeLinear (QuantizeLinear (c, s, z), s, z))"]))
    shape = (outputs, channels // groups, kernel, kernel)
    scales = generator.uniform(0.01, 0.03, (outputs,) if per_channel else ()).astype(np.float32)
    constants = {
        "s": np.float32(0.05),
        "z": np.array(128 if activation == "uint8" else 0, activation),
        "w": generator.integers(-31, 32, shape).astype(np.int8),  # (two products of these fit 16 bits: no kernel saturates)
        "ws": scales,
        "wz": np.zeros_like(scales, dtype=np.int8),
        "b": generator.standard_normal(outputs).astype(np.float32),
        "bi": generator.integers(-999, 999, outputs).astype(np.int32),
        "bs": np.asarray(scales * np.float32(0.05)),
        "bz": np.zeros_like(scales, dtype=np.int32),
    }
    body = ["q = QuantizeLinear (x, s, z)", "d = DequantizeLinear (q, s, z)", "wd = DequantizeLinear <axis = 0> (w, ws, wz)"]
    if bias == "int32":
        body.append("bd = DequantizeLinear <axis = 0> (bi, bs, bz)")
    operand = {"": "", "float": ", b", "int32": ", bd"}[str(bias)]
    pads = kernel // 2
    form = f"strides = [{strides}, {strides}], pads = [{pads}, {pads}, {pads}, {pads}]"
    body += [f"c = Conv <kernel_shape = [{kernel}, {kernel}], group = {groups}, {form}> (d, wd{operand})", f"y = {reads}"]
    if "Quantize" in str(reads):
        body[-1:] = ["e = QuantizeLinear (c, s, z)", "f = DequantizeLinear (e, s, z)", "y = Relu (f)"]
    ends = f"(float[n, {channels}, 6, 6] x) => (float[n, {outputs}, h, v] y)"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {ends} {{ {"  ".join(body)} }}')
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("make", [PointwiseProducts, lambda: InputChannels(4)], ids=["PointwiseProducts", "InputChannels"])
@FAST
@given(model=quantized_images())
def test_passes_behind_the_quantizer(make, model):
    x = np.random.default_rng(3).standard_normal((2, model.graph.input[0].type.tensor_type.shape.dim[1].dim_value, 6, 6))
    after = as_ir(model)
    make()(after)
    remove_unused(after)
    expected, got = (
        ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x.astype(np.float32)}
        )
        for made in (model, ir.to_proto(after))
    )
    assert np.abs(got[0] - expected[0]).max() <= 0.0501  # a step of the grid, where a sum lies between two


def test_the_quantized_images_give_the_passes_something_to_do():
    counts = {"PointwiseProducts": 0, "InputChannels": 0}

    @settings(FAST, max_examples=60, database=None)
    @given(model=quantized_images())
    def look(model):
        for name, rewrite in (("PointwiseProducts", PointwiseProducts()), ("InputChannels", InputChannels(4))):
            rewrite(as_ir(model))
            counts[name] += rewrite.count > 0

    look()
    assert all(counts.values()), counts


@FAST
@given(groups=st.sampled_from([1, 2]), bias=st.booleans(), transposed=st.booleans(), folded=st.booleans())
def test_folded_weights_of_another_type_compute_the_same(groups, bias, transposed, folded):
    generator = np.random.default_rng(0)
    op = "ConvTranspose" if transposed else "Conv"
    shape = (4, 2 if transposed and groups == 2 else 4 // groups, 3, 3)
    weights = {"w": generator.standard_normal(shape) / 6, "b": generator.standard_normal(4)}
    operands = "w, b" if bias else "w"

    def model(kind: str, stored: type) -> onnx.ModelProto:
        made = onnx.parser.parse_model(
            f'<ir_version: 10, opset_import: ["" : 21]> g ({kind}[n, 4, 5, 5] x) => ({kind}[n, 4, h, v] y) '
            f"{{ y = {op} <group = {groups}> (x, {operands}) }}"
        )
        for name, values in weights.items():
            made.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(stored), name))
        return made

    after = as_ir(model("float16", np.float32 if folded else np.float16))
    ConvTypes()(after)
    x = generator.standard_normal((2, 4, 5, 5))
    expected, got = (
        ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x.astype(kind)})[0]
        for made, kind in ((model("float", np.float32), np.float32), (ir.to_proto(after), np.float16))
    )
    np.testing.assert_allclose(got, expected, rtol=0, atol=0.01)
