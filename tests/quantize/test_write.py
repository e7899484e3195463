"""One writer for every scheme: what changed is written with its plan and facts, what did not as it was given."""

import json
from dataclasses import asdict

import numpy as np
import onnx
import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.calibrate.samples import CheckedSamples
from edgeopt.quantize.plan.plan import load_plan, save_plan
from edgeopt.quantize.schemes.scheme import SCHEMES, scheme_called
from edgeopt.quantize.stage import draft


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_follows_the_protocol_and_drafts_the_plan_that_it_carries_out(  # noqa: PLR0917  (fixtures)
    scheme, text_model, sentences, saved, tmp_path, vnni
):
    path = saved(text_model)
    config = QuantizeConfig(scheme=scheme)
    assert isinstance(scheme_called(scheme).REWRITES, bool)
    made = quantize(path, sentences, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert draft(path, sentences, target=vnni, config=config) == load_plan(made.plan_path)
    assert json.loads(json.dumps(asdict(made.facts), allow_nan=False))["target"] == "x86-vnni"
    assert {layer.op for layer in made.facts.layers} >= {"output"}
    again = quantize(
        path, sentences, target=vnni, output=tmp_path / "again.onnx", config=config.model_copy(update={"plan": made.plan_path})
    )
    assert again.path.read_bytes() == made.path.read_bytes()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_plan_of_another_scheme_is_refused(  # noqa: PLR0917  (fixtures)
    scheme, text_model, sentences, saved, tmp_path, vnni
):
    path = saved(text_model)
    other = "float16" if scheme != "float16" else "static"
    plan = save_plan(draft(path, sentences, target=vnni, config=QuantizeConfig(scheme=other)), tmp_path / "other.onnx")
    config = QuantizeConfig(scheme=scheme, plan=plan)
    with pytest.raises(RecipeError, match=f'scheme = "{scheme}"'):
        quantize(path, sentences, target=vnni, output=tmp_path / "q.onnx", config=config)


def test_a_model_that_no_scheme_changes_is_written_with_its_nodes_in_order(saved, tmp_path, vnni):
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (float[n] y) { y = Tanh (t) t = Sin (x) }'
    batch = {"x": np.ones(3, dtype=np.float32)}
    made = quantize(saved(onnx.parser.parse_model(text)), [batch], target=vnni, output=tmp_path / "out.onnx")
    assert [node.op_type for node in onnx.load(made.path).graph.node] == ["Sin", "Tanh"]
    onnx.checker.check_model(made.path)


class Counted:
    """Batches that count how often each was read."""

    def __init__(self, batches):
        self.batches, self.read = batches, [0] * len(batches)

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for number, batch in enumerate(self.batches):
            self.read[number] += 1
            yield batch


def test_samples_are_checked_once(monkeypatch, text_model, saved, tmp_path, vnni):
    from edgeopt.quantize.calibrate import samples

    checks, check = [], samples._check_names
    monkeypatch.setattr(samples, "_check_names", lambda batch, *rest: (checks.append(id(batch)), check(batch, *rest)))
    generator = np.random.default_rng(2)
    batches = Counted([{"ids": generator.integers(0, 50, (1, size))} for size in range(3, 15)])
    quantize(saved(text_model), batches, target=vnni, output=tmp_path / "q.onnx")
    counts = [checks.count(id(batch)) for batch in batches.batches]
    assert counts == [2, *[1] * 11], "the first one before calibration, too"
    assert batches.read == [3, *[2] * 8, *[1] * 3], "for calibration, and nine to judge ranges beside the three held aside"


def test_parts_that_were_taken_are_not_read_again_and_known_batches_not_checked_again(text_model):
    from edgeopt.graph.files import as_ir, signature

    batches = Counted([{"ids": np.ones((1, size), dtype=np.int64)} for size in (2, 3, 4)])
    samples = CheckedSamples(batches, signature(as_ir(text_model)))
    first = samples.take(2)
    assert samples.take(1) == first[:1]
    assert batches.read == [1, 1, 0]
    assert [batch["ids"].shape for batch in samples] == [(1, 2), (1, 3), (1, 4)]
    assert len(samples.take(9)) == 3
