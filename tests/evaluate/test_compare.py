"""Comparing models: accuracy with its interval, agreement, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.evaluate import compare
from edgeopt.evaluate.compare import Variant, verdict, whole_verdict
from edgeopt.evaluate.config import VerifyOptions
from edgeopt.evaluate.lockstep import Evaluated, OutputError
from edgeopt.evaluate.result import Divergence, VariantAccuracy
from edgeopt.quantize.result import LayerNoise
from edgeopt.roles import role_of
from edgeopt.tasks.registry import task_for


@dataclass(frozen=True)
class Model:
    """A model by name, with its outputs for all samples."""

    name: str
    outputs: dict[str, np.ndarray]


def variant(name: str, **outputs: np.ndarray) -> Model:
    return Model(name, outputs)


def compare_accuracy(models: list[Model], of: Samples, options: VerifyOptions) -> list[VariantAccuracy]:
    task = task_for(of)
    variants = []
    for model in models:
        rows = [{name: values[index] for name, values in model.outputs.items()} for index in range(len(of))]
        answers = [task.answer(row, of[index]) for index, row in enumerate(rows)]
        variants.append(Variant(model.name, role_of(model.name), model.name, answers, 1, 2, 3))
    return compare.compare_accuracy(variants, of, task, options)


def diverge(source: Model, result: Model, layers: list[LayerNoise] | None = None) -> Divergence:
    found = Evaluated(result.name, [])
    found.compare(result.outputs, source.outputs)
    return compare.diverge(source.name, result.name, found.errors, layers or [])


def samples(labels: list[int] | None) -> Samples:
    count = 4 if labels is None else len(labels)
    return from_arrays({"x": np.zeros(count, np.float32)}, None if labels is None else np.array(labels))


def one_hot(classes: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[classes]


def test_agreement_and_relative_error() -> None:
    rows = compare_accuracy(
        [variant("fp32", y=one_hot([0, 1, 1, 2])), variant("int8", y=one_hot([0, 1, 2, 2]))], samples(None), VerifyOptions()
    )
    assert [row.agreement for row in rows] == [1.0, 0.75]
    reference = np.array([3.0, -4.0])
    error = OutputError()
    error.add(reference[:1] * 1.1, reference[:1])
    error.add(reference[1:] * 1.1, reference[1:])
    assert error.relative == pytest.approx(0.1)
    zero = OutputError()
    zero.add(np.array([0.5]), np.array([0.0]))
    assert zero.relative == 0.5


def test_each_variant_is_held_against_labels_and_the_first() -> None:
    rows = compare_accuracy(
        [variant("teacher", y=one_hot([0, 1, 2, 0])), variant("int8", y=one_hot([0, 1, 1, 0]))],
        samples([0, 1, 2, 1]),
        VerifyOptions(),
    )
    assert [row.accuracy for row in rows] == [0.75, 0.5]
    assert [row.agreement for row in rows] == [1.0, 0.75]
    assert rows[0].low is not None
    assert rows[0].low < 0.75


def test_without_labels_there_is_no_accuracy() -> None:
    rows = compare_accuracy(
        [variant("fp32", boxes=np.zeros((4, 2, 2)), scores=np.zeros((4, 2)))], samples(None), VerifyOptions()
    )
    assert rows[0].accuracy is None
    assert rows[0].agreement is None


def test_the_worst_output_and_the_first_bad_layer_are_named() -> None:
    fp32 = variant("fp32", a=np.ones((4, 2)), b=np.ones((4, 2)))
    int8 = variant("int8", a=np.ones((4, 2)), b=np.full((4, 2), 1.5))
    layers = [LayerNoise(name, "Conv", db) for name, db in (("conv1", 40.0), ("conv2", 12.0), ("conv3", 3.0))]
    found = diverge(fp32, int8, layers)
    assert (found.output, found.first_tensor) == ("b", "conv2")
    assert (found.max_abs_error, found.relative_error) == (0.5, 0.5)
    assert diverge(fp32, int8).first_tensor is None


@pytest.mark.parametrize(("wrong", "state"), [(0, "pass"), (1, "pass"), (2, "fail")])
def test_the_verdict_is_about_the_drop(wrong: int, state: str) -> None:
    labels = [0] * 100
    logits = [1] * wrong + [0] * (100 - wrong)
    pair = [variant("fp32", y=one_hot(labels)), variant("int8", y=one_hot(logits))]
    rows = compare_accuracy(pair, samples(labels), VerifyOptions(max_drop_points=1.0))
    said = verdict(rows, diverge(*pair), VerifyOptions(max_drop_points=1.0))
    assert said.state == state
    assert said.reason.endswith(f": {100 - wrong:.2f} % after 100.00 %")
    assert (f"loses {wrong:.2f} points" if wrong else "loses nothing") in said.reason


def test_without_accuracy_the_verdict_is_about_the_outputs() -> None:
    pair = [variant("fp32", y=np.ones((4, 2, 2))), variant("int8", y=np.full((4, 2, 2), 1.2))]
    rows = compare_accuracy(pair, samples(None), VerifyOptions())
    assert verdict(rows, diverge(*pair), VerifyOptions(max_output_error=0.1)).state == "fail"
    assert verdict(rows, diverge(*pair), VerifyOptions(max_output_error=0.3)).state == "pass"
    asked = VerifyOptions(max_output_error=0.3, max_drop_points=0.5)  # an accuracy, where there are no labels
    said = verdict(rows, diverge(*pair), asked)
    assert said.state == "undecided"
    assert "max_drop_points = 0.5 cannot be judged, since the samples have no labels" in said.reason
    assert verdict(rows, diverge(*pair), asked.model_copy(update={"max_output_error": 0.1})).state == "fail"


@pytest.mark.parametrize(("wrong", "state"), [(3, "pass"), (5, "pass"), (6, "fail"), (40, "fail")])
def test_the_final_model_is_judged_against_the_teacher_too(wrong: int, state: str) -> None:
    labels = [0] * 100
    student = one_hot([1] * wrong + [0] * (100 - wrong))
    models = [variant("teacher", y=one_hot(labels)), variant("distill", y=student), variant("int8", y=student)]
    models.insert(2, variant("fp32", y=student))
    rows = compare_accuracy(models, samples(labels), VerifyOptions())
    said = whole_verdict(rows, allowed_points=5.0)
    assert said is not None
    assert said.state == state
    lost = f"int8 loses {wrong:.2f} points of accuracy against the teacher (5 allowed)"
    assert said.reason == f"{lost}: {100 - wrong:.2f} % after 100.00 %"
    assert verdict(rows, diverge(models[2], models[3]), VerifyOptions()).state == "pass"


def test_without_a_teacher_or_labels_nothing_is_said_about_the_whole() -> None:
    models = [variant("fp32", y=one_hot([0, 1, 0, 1])), variant("int8", y=one_hot([0, 1, 0, 1]))]
    assert whole_verdict(compare_accuracy(models, samples([0, 1, 0, 1]), VerifyOptions()), allowed_points=5.0) is None
    models.insert(0, variant("teacher", y=one_hot([0, 1, 0, 1])))
    rows = compare_accuracy(models, samples(None), VerifyOptions())
    assert whole_verdict(rows, allowed_points=5.0) is None
    asked = whole_verdict(rows, allowed_points=5.0, asked=True)
    assert asked is not None
    assert asked.state == "undecided"
    assert asked.reason == "the whole run's max_drop_points = 5 cannot be judged, since the samples have no labels"


def test_the_quantized_model_is_paired_with_the_one_before_it() -> None:
    labels = [0] * 20
    task, of = task_for(samples(labels)), samples(labels)
    answers = {"teacher": [0] * 20, "fp32": [0] * 18 + [1] * 2, "int8": [0] * 17 + [1] * 3}
    variants = [
        Variant(name, role_of(name), name, [task.answer({"y": row}, {}) for row in one_hot(classes)], 1, 2, 3)
        for name, classes in answers.items()
    ]
    rows, last = compare.compared(variants, of, task, VerifyOptions())
    assert last is not None
    assert (last.lost, last.gained, last.changed, last.difference) == (1, 0, 1, pytest.approx(-0.05))
    assert rows[2].paired is not None
    assert rows[2].paired.difference == pytest.approx(-0.15)
