"""A fault planted at every step is found there, by its tensor."""

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.errors import MachineError
from edgeopt.graph.editing import copied, replace_constant
from edgeopt.graph.files import as_ir, load, save
from edgeopt.graph.matching import array
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.inspect.diagnosis import LIMITS_DB, Step, _runtimes, cut, diagnose, first_fault, on_cpu, on_target
from edgeopt.targets.target import load_target
from tests.quantize.conftest import bottlenecks


def test_classes_are_judged_by_what_they_are_computed_from(conv_model, images, saved, tmp_path, vnni):
    """An output of ArgMax alone was "150 dB, fine", whatever became of its logits."""
    conv_model.graph.node.append(onnx.helper.make_node("ArgMax", ["y"], ["label"], axis=1))
    del conv_model.graph.output[:]
    conv_model.graph.output.append(onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, None))
    path = saved(conv_model)
    result = quantize(path, images, target=vnni, output=tmp_path / "int8.onnx")
    first = diagnose(path, result.path, images)[0]
    assert first.output_db == pytest.approx(result.facts.outputs_db, abs=6)


@pytest.fixture
def made(conv_model, images, saved, tmp_path, vnni):
    path = saved(conv_model)
    return path, quantize(path, images, target=vnni, output=tmp_path / "int8.onnx")


def test_a_sound_model_is_fine_at_every_step(made, images):
    path, result = made
    steps = diagnose(path, result.path, images)
    assert [step.name for step in steps] == ["onnx → qdq", "qdq → optimized"]
    assert first_fault(steps) is None


def planted(made, samples, folder, target, *, tensor, limit_db):
    """Make the range of one activation a fiftieth, quantize by that plan, and return the fault that is found."""
    path, result = made
    plan = json.loads(result.plan_path.read_text())
    item = next(item for item in plan["tensors"] if item["name"] == tensor)
    item |= {"low": item["low"] / 50, "high": item["high"] / 50}
    (folder / "plan.json").write_text(json.dumps(plan))
    config = QuantizeConfig(plan=folder / "plan.json", correct_bias=False)
    bad = quantize(path, samples, target=target, output=folder / "bad.onnx", config=config)
    return first_fault(diagnose(path, bad.path, samples, limits_db=LIMITS_DB | {"onnx → qdq": limit_db}))


def test_a_range_too_small_is_found_by_its_tensor(made, images, tmp_path, vnni):
    fault = planted(made, images, tmp_path, vnni, tensor="s", limit_db=LIMITS_DB["onnx → qdq"])
    assert fault is not None
    assert (fault.name, fault.tensor) == ("onnx → qdq", "s")
    assert fault.proposal.startswith("--exclude")


def test_a_rounding_between_two_convolutions_takes_both_to_be_left_out(made, images, tmp_path, vnni):
    fault = planted(made, images, tmp_path, vnni, tensor="c", limit_db=25.0)
    names = {node.output[0]: node.name for node in onnx.load(made[1].path).graph.node}
    assert fault.tensor == "c"
    assert fault.proposal == f"--exclude {names['s']} --exclude {names['c']}"


@pytest.fixture
def mobile(bottleneck_batches, saved, tmp_path, vnni):
    path, config = saved(bottlenecks()), QuantizeConfig(float_layers="none", exclude=["a"])
    return path, quantize(path, bottleneck_batches, target=vnni, output=tmp_path / "int8.onnx", config=config)


def test_a_floating_sum_is_not_to_blame_for_how_it_is_read(mobile, bottleneck_batches, tmp_path, vnni):
    fault = planted(mobile, bottleneck_batches, tmp_path, vnni, tensor="a", limit_db=25.0)
    assert (fault.tensor, fault.node, fault.proposal) == ("a", "e3", "--exclude e3")


def test_a_product_for_a_convolution_is_found_by_its_name(mobile, bottleneck_batches, tmp_path):
    path, made = mobile
    model = load(made.path)
    scale = next(node for node in model.graph if node.name == "p1").inputs[3]
    replace_constant(scale, array(scale) * np.float32(1.5))
    save(model, tmp_path / "wrong.onnx")
    fault = first_fault(diagnose(path, tmp_path / "wrong.onnx", bottleneck_batches))
    assert (fault.tensor, fault.node, fault.proposal) == ("p1", "p1", "--exclude p1")


REQUANTIZED = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
    xq = QuantizeLinear (x, step, zero)
    xd = DequantizeLinear (xq, step, zero)
    a = Relu (xd)
    aq = QuantizeLinear (a, step, zero)
    ad = DequantizeLinear (aq, step, zero)
    c = Conv <kernel_shape = [1, 1]> (ad, w)
    cq = QuantizeLinear (c, step, zero)
    cd = DequantizeLinear (cq, step, zero)
    y = Sigmoid (cd)
}
"""


def test_what_onnxruntimes_optimisation_does_is_found_there():
    """It quantizes the floating weights of a Conv between Q/DQ by itself, with one scale for all."""
    model = onnx.parser.parse_model(REQUANTIZED)
    weight = np.array([[1e-3, 2e-3], [0, 0.4]], dtype=np.float32).reshape(2, 2, 1, 1)
    constants = {"w": weight, "step": np.float32(4 / 255), "zero": np.uint8(0)}
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    model = onnx.shape_inference.infer_shapes(model)
    batch = {"x": np.random.default_rng(0).uniform(0, 4, (1, 2, 4, 4)).astype(np.float32)}
    changed = on_cpu()

    def optimizer_with_a_fault(cut_model, batches):
        """As a faulty fusion would: whatever the Conv gives is off."""
        faulty = copied(cut_model)
        if "w" in faulty.graph.initializers:
            replace_constant(faulty.graph.initializers["w"], weight * 0.5)
        return changed(faulty, batches)

    model = as_ir(model)
    step = _runtimes("qdq → optimized", model, [batch], (on_cpu(optimize=False), optimizer_with_a_fault), 25.0)
    assert not step.ok
    assert (step.tensor, step.node) == ("c", "n5")
    assert _runtimes("qdq → optimized", model, [batch], (on_cpu(optimize=False), on_cpu(optimize=False)), 25.0).ok


def test_a_provider_that_computes_something_else_is_found(made, images):
    """The runtime stands for a provider whose second convolution is wrong; the way over a real runner is tried below."""
    _, result = made
    model = load(result.path)
    here = on_cpu()

    def wrong(part, batches):
        part = copied(part)
        if "w2_scale" in part.graph.initializers:
            scale = part.graph.initializers["w2_scale"]
            replace_constant(scale, array(scale) * np.float32(3))
        return here(part, batches)

    step = _runtimes("optimized → provider", model, images[:1], (here, wrong), LIMITS_DB["optimized → provider"])
    assert (step.tensor, step.node) == ("c", next(node.name for node in model.graph if node.outputs[0].name == "c"))


def test_a_target_is_reached_through_its_runner(made, images):
    _, result = made
    model = load(result.path)
    (there,) = on_target(load_target("x86-vnni"))(model, images[:1])
    (here,) = on_cpu()(model, images[:1])
    np.testing.assert_allclose(there["y"], here["y"], atol=1e-5)


def test_the_targets_provider_is_the_one_that_is_asked_for(made, images):
    _, result = made
    with pytest.raises(MachineError, match="TensorrtExecutionProvider is not in onnxruntime"):
        on_target(load_target("tensorrt"))(load(result.path), images[:1])


def test_a_cut_makes_the_tensor_and_nothing_else(conv_model, images):
    part = cut(as_ir(onnx.shape_inference.infer_shapes(conv_model)), "r")
    assert [node.op_type for node in part.graph] == ["Conv", "Relu"]
    (values,) = on_cpu()(part, images[:1])
    assert values["r"].shape == (4, 8, 16, 16)


def test_the_command_says_the_step_and_ends_with_1(made, images, tmp_path, monkeypatch):
    path, result = made
    np.savez(tmp_path / "x.npz", **images[0])
    arguments = ["diagnose", str(path), str(result.path), "--data", str(tmp_path / "x.npz"), "--format", "json", "-q"]
    fine = CliRunner().invoke(app, arguments)
    assert (fine.exit_code, [row["verdict"] for row in json.loads(fine.stdout)]) == (0, ["fine", "fine"])
    bad = Step("qdq → optimized", 3.0, 25.0, "c", 2.0, "conv", "--exclude conv")
    monkeypatch.setattr("edgeopt.quantize.inspect.diagnosis.diagnose", lambda *_, **__: (bad,))
    assert CliRunner().invoke(app, arguments).exit_code == 1
