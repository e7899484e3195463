"""Static int8 as a scheme: when it searches, and what finishes the model."""

import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize import QuantizeConfig, draft, quantize
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.quantize.prepare import prepare_for
from edgeopt.quantize.schemes import static
from edgeopt.quantize.schemes.scheme import Request


def request(path, batches, target, **values):
    config = QuantizeConfig.read(values, where="test")
    return Request(prepare_for(path, target, rewrite=True), batches, config, target=target, path=path)


def test_a_plan_is_drafted_without_quantizing_where_nothing_is_searched(conv_model, images, saved, vnni, monkeypatch):
    made = []
    monkeypatch.setattr(static, "perform", lambda *given: made.append(given))
    plan = static.draft(request(saved(conv_model), images, vnni, float_layers="none"))
    assert not made and {node.op for node in plan.integer_nodes} >= {"Conv", "Gemm"}


def test_the_drafted_plan_is_the_one_carried_out(conv_model, images, saved, tmp_path, vnni):
    path, config = saved(conv_model), QuantizeConfig()
    plan = draft(path, images, target=vnni, config=config)
    result = quantize(path, images, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert load_plan(result.plan_path).nodes == plan.nodes


def test_a_limit_of_the_drop_needs_a_measure(conv_model, images, saved, vnni):
    with pytest.raises(RecipeError, match="nothing measures the metric"):
        static.convert(request(saved(conv_model), images, vnni, max_drop=0.1))


def test_nothing_on_integers_is_written_as_it_was_and_said(conv_model, images, saved, vnni):
    path = saved(conv_model)
    names = [node.name for node in prepare_for(path, vnni, rewrite=True).model.graph]
    asked = request(path, images, vnni, exclude=names)
    converted = static.convert(asked)
    assert not converted.plan(asked).integer_nodes and not converted.afterwards
    assert any("no node can run on integers" in warning for warning in converted.warnings)
