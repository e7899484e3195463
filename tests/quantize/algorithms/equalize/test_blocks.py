"""Blocks around depthwise convolutions: which are found, and what scaling them does."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.graph.editing import copied
from edgeopt.graph.outputs import same_outputs
from edgeopt.quantize.algorithms.equalize.blocks import find_blocks, scale_block, weights_of
from edgeopt.quantize.prepare import prepare
from tests.quantize.algorithms.equalize.conftest import MOBILE, mobile


def test_scaling_a_block_by_hand_changes_nothing(photos):
    model = prepare(ir.from_proto(mobile(clip=False)), "mobile").model
    scaled = copied(model)
    generator = np.random.default_rng(3)
    (block,) = find_blocks(scaled)
    scale_block(block, generator.uniform(0.5, 4, 16), generator.uniform(0.5, 4, 16))
    assert same_outputs(model, scaled, photos[0])


@pytest.mark.parametrize(("clip", "ceiling"), [(False, np.inf), (True, 6.0)])
def test_a_block_knows_its_convolutions_and_ceilings(clip, ceiling):
    [block] = find_blocks(prepare(ir.from_proto(mobile(clip=clip)), "mobile").model)
    assert block.ceilings == (ceiling, ceiling)
    assert [weight.shape for weight in weights_of(block)] == [(16, 4, 1, 1), (16, 1, 3, 3), (8, 16, 1, 1)]


def test_a_clip_that_does_not_start_at_zero_does_not_commute():
    model = mobile(clip=True)
    low = next(tensor for tensor in model.graph.initializer if tensor.name == "low")
    low.CopyFrom(onnx.numpy_helper.from_array(np.float32(-1), "low"))
    assert list(find_blocks(ir.from_proto(model))) == []


def test_a_tensor_that_others_read_is_not_scaled():
    model = mobile(clip=False)
    model.graph.node.append(onnx.helper.make_node("Neg", ["r1"], ["other"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("other", 1, None))
    assert MOBILE and list(find_blocks(ir.from_proto(model))) == []
