"""Equalisation around depthwise convolutions: the function stays, one weight scale is enough, plans replay."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.errors import RecipeError
from edgeopt.graph.editing import copied
from edgeopt.graph.matching import array, is_depthwise
from edgeopt.graph.outputs import same_outputs
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.algorithms.equalize.blocks import find_blocks, scale_block
from edgeopt.quantize.algorithms.equalize.choose import Seen, choose_scales
from edgeopt.quantize.algorithms.equalize.stage import equalized
from edgeopt.quantize.prepare import prepare

MOBILE = """
<ir_version: 10, opset_import: ["" : 21]>
mobile (float[n, 4, 12, 12] x) => (float[n, 8, 6, 6] y) {{
    e = Conv (x, we, be)
    r1 = {first} (e{limits})
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2], group = 16> (r1, wd, bd)
    r2 = {second} (d{limits})
    y = Conv (r2, wp, bp)
}}
"""


def mobile(*, clip: bool) -> onnx.ModelProto:
    """A block whose depthwise filters differ by a factor of 100, as folded batch normalisation leaves them."""
    generator = np.random.default_rng(0)
    name = "Clip" if clip else "Relu"
    text = MOBILE.format(first=name, second=name, limits=", low, high" if clip else "")
    scales = np.exp(generator.uniform(np.log(0.1), np.log(10), 16))
    weights = {
        "we": generator.standard_normal((16, 4, 1, 1)) / scales[:, None, None, None] / 4,
        "be": generator.uniform(0, 0.5, 16) / scales,
        "wd": generator.standard_normal((16, 1, 3, 3)) * scales[:, None, None, None] / 3,
        "bd": generator.uniform(0, 0.5, 16),
        "wp": generator.standard_normal((8, 16, 1, 1)),
        "bp": np.zeros(8),
    } | ({"low": np.array(0), "high": np.array(6)} if clip else {})
    model = onnx.parser.parse_model(text)
    for key, values in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), key))
    return model


@pytest.fixture
def photos():
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((2, 4, 12, 12)).astype(np.float32)} for _ in range(6)]


@pytest.fixture
def tensorwise(vnni):
    return vnni.model_copy(update={"quantization": vnni.quantization.model_copy(update={"per_channel": False})})


def depthwise(model: ir.Model) -> np.ndarray:
    """Return the weight of the only depthwise convolution."""
    (node,) = (node for node in model.graph if node.op_type == "Conv" and is_depthwise(node))
    return array(node.inputs[1])


@pytest.mark.parametrize("clip", [False, True])
def test_the_function_stays(clip, photos, tensorwise):
    prepared = prepare(ir.from_proto(mobile(clip=clip)), "mobile")
    made = equalized(prepared, photos, tensorwise, QuantizeConfig())
    assert len(made.equalization) == 1
    after, before = (depthwise(item.model) for item in (made, prepared))
    assert np.ptp(np.log(np.abs(after).max(axis=(1, 2, 3)))) < 0.7 * np.ptp(np.log(np.abs(before).max(axis=(1, 2, 3))))
    assert all(same_outputs(prepared.model, made.model, batch) for batch in photos)


@pytest.mark.parametrize("clip", [False, True])
def test_one_weight_scale_loses_less_then(clip, photos, tensorwise, saved, tmp_path):
    path = saved(mobile(clip=clip))
    noise = {}
    for equalize in (False, True):
        config = QuantizeConfig(equalize=equalize)
        result = quantize(path, photos, target=tensorwise, output=tmp_path / f"{equalize}.onnx", config=config)
        noise[equalize] = result.facts.layers[-1].sqnr_db
    assert noise[True] > noise[False] + 2, noise
    assert any(decision.what == "equalisation" for decision in result.facts.decisions)


def test_targets_with_a_scale_for_each_channel_need_none(photos, vnni):
    prepared = prepare(ir.from_proto(mobile(clip=True)), "mobile")
    assert equalized(prepared, photos, vnni, QuantizeConfig()) is prepared


def test_a_plan_replays_its_scales_and_another_models_are_refused(photos, tensorwise, saved, tmp_path):
    path = saved(mobile(clip=True))
    first = quantize(path, photos, target=tensorwise, output=tmp_path / "a.onnx")
    config = QuantizeConfig(plan=first.plan_path)
    again = quantize(path, photos, target=tensorwise, output=tmp_path / "b.onnx", config=config)
    assert first.path.read_bytes() == again.path.read_bytes()
    plan = json.loads(first.plan_path.read_text())
    plan["equalization"][0]["first"].pop()
    first.plan_path.write_text(json.dumps(plan))
    with pytest.raises(RecipeError, match="depthwise convolution"):
        quantize(path, photos, target=tensorwise, output=tmp_path / "c.onnx", config=config)


def test_channels_that_reach_the_ceiling_are_not_scaled():
    generator = np.random.default_rng(2)
    weights = (
        generator.standard_normal((3, 2, 1, 1)),
        generator.standard_normal((3, 1, 3, 3)),
        generator.standard_normal((4, 3, 1, 1)),
    )
    weights[1][1] *= 50
    inner = Seen(np.array([6.0, 0.2, 5.0]), np.array([1.0, 0.01, 1.0]))
    choice = choose_scales(weights, (Seen(np.ones(2), np.ones(2)), inner, inner), (6.0, 6.0))
    assert choice.first[0] == choice.second[0] == 1
    assert choice.first[2] == 1, "5 · 1.5 exceeds 6"
    assert choice.first[1] > 3
    assert choice.gain_db > 2


def test_scaling_a_block_by_hand_changes_nothing(photos):
    model = prepare(ir.from_proto(mobile(clip=False)), "mobile").model
    scaled = copied(model)
    generator = np.random.default_rng(3)
    (block,) = find_blocks(scaled)
    scale_block(block, generator.uniform(0.5, 4, 16), generator.uniform(0.5, 4, 16))
    assert same_outputs(model, scaled, photos[0])
