"""The result of each stage is written as JSON and read back as the same value, or refused with stage and key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeopt.distill.result import DistillFacts, DistillResult
from edgeopt.errors import DataError
from edgeopt.evaluate.result import Divergence, VariantAccuracy, VerifyFacts
from edgeopt.graph.signature import TensorSpec
from edgeopt.models.model_size import ModelSize
from edgeopt.prune.result import LayerWidth, PruneFacts
from edgeopt.quantize.plan.plan import Decision, Scheme
from edgeopt.quantize.result import Coverage, Island, LayerNoise, QuantizeFacts
from edgeopt.roles import Role
from edgeopt.stages.onnx_import import ImportFacts
from edgeopt.stages.results import StageFacts, read_facts, write_facts
from edgeopt.stages.teacher import TeacherFacts
from edgeopt.train.epoch import Epoch

SMALL, LARGE = ModelSize(10, 44, 90), ModelSize(20, 88, 200)
EPOCHS = (Epoch(1, 2.5), Epoch(2, 0.5, 0.75))
ROW = VariantAccuracy("int8", Role.QUANTIZED, "quantize", 0.5, 0.25, 0.75, 1.0, 44, None, None)
QUANTIZED = QuantizeFacts(
    target="host",
    scheme=Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True),
    samples=8,
    tensors=3,
    coverage=Coverage(None, (Island("n", "Softmax", "why"),)),
    layers=(LayerNoise("n", "Conv", 30.0),),
    sensitivity=(LayerNoise("n", "Conv", 20.0, 0.125),),
    decisions=(Decision("stem", "floating", "é"),),
    warnings=("w",),
    size_bytes_before=100,
    size_bytes_after=30,
)
FACTS: dict[str, StageFacts] = {
    "teacher": TeacherFacts(20, 88, 200, EPOCHS),
    "distill": DistillFacts(LARGE, SMALL, 7, EPOCHS),
    "prune": PruneFacts(LARGE, SMALL, (LayerWidth("stem", 16, 8),), (), {"mix": "no kernel"}),
    "import": ImportFacts(21, 3, (TensorSpec("x", "float32", ("batch", 3)),), (), 100),
    "quantize": QUANTIZED,
    "verify": VerifyFacts(
        "accuracy", 4, 0.95, (ROW,), (Divergence("fp32", "int8", "y", 0.5, 0.25, None),), "fail", "why", "pass", "so"
    ),
}


@pytest.mark.parametrize("stage", FACTS)
def test_a_result_is_read_back_as_it_was(stage: str) -> None:
    text = json.dumps(write_facts(stage, FACTS[stage]), allow_nan=False)
    assert read_facts(stage, json.loads(text)) == FACTS[stage]


def test_the_stages_of_other_exports_write_what_export_writes() -> None:
    assert write_facts("import-teacher", FACTS["import"]) == write_facts("import", FACTS["import"])
    assert read_facts("from-a-plug-in", {"x": 1}) is None


def test_where_a_result_lies_is_no_part_of_it(tmp_path: Any) -> None:
    values = write_facts("distill", DistillResult(LARGE, SMALL, 7, EPOCHS, path=tmp_path))
    assert values == write_facts("distill", FACTS["distill"])
    assert str(tmp_path) not in json.dumps(values)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("samples",), "8", "facts of quantize: 'samples' is '8'; a whole number is expected"),
        (("coverage", "islands", 0, "node"), 3, r"facts of quantize.coverage.islands\[0\]: 'node' is 3; a text is expected"),
        (("layers", 0, "sqnr_db"), float("inf"), r"facts of quantize.layers\[0\]: 'sqnr_db' is inf; a finite number"),
        (("layers", 0), [], r"facts of quantize: 'layers\[0\]' is \[\]; an object is expected"),
    ],
)
def test_a_wrong_value_is_named(place: tuple[str | int, ...], value: object, said: str) -> None:
    values: Any = json.loads(json.dumps(write_facts("quantize", QUANTIZED)))
    holder = values
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    with pytest.raises(DataError, match=said):
        read_facts("quantize", values)


def test_a_result_of_another_version_says_what_to_do() -> None:
    values = write_facts("verify", FACTS["verify"])
    del values["variants"][0]["role"]
    with pytest.raises(DataError, match=r"verify.variants\[0\]: 'role' is missing.*run the recipe again"):
        read_facts("verify", values)
