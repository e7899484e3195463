"""Equalisation around depthwise convolutions: the function stays, one weight scale is enough, plans replay."""

import json

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.errors import RecipeError
from edgeopt.graph.matching import array, is_depthwise
from edgeopt.graph.outputs import same_outputs
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.algorithms.equalize.stage import equalized
from edgeopt.quantize.prepare import prepare
from tests.quantize.algorithms.equalize.conftest import mobile


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
