"""Accuracy that each model loses compared with the first one, sample by sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeopt import progress
from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError, RecipeError
from edgeopt.stages.drops import accuracy_drops, likeness, merits, wanted
from edgeopt.targets.target import load_target
from edgeopt.tasks.single_label import SingleLabel
from tests.stages.conftest import write_linear

SAMPLES = np.eye(4, dtype=np.float32)


def test_only_budgets_on_accuracy_want_it() -> None:
    assert wanted(["p50_ms<=5", "int8: accuracy_drop<=1 @95%"])
    assert not wanted(["p50_ms<=5", "size_mb<=1"])


def test_lost_and_gained_are_counted_against_the_first(tmp_path: Path) -> None:
    before = write_linear(tmp_path / "a" / "model.onnx", np.eye(4)[[0, 1, 2, 0]])  # wrong for the last sample
    after = write_linear(tmp_path / "b" / "model.onnx", np.eye(4)[[1, 0, 2, 3]])  # wrong for the first two
    samples = from_arrays({"x": SAMPLES}, np.arange(4))
    found = accuracy_drops({"fp32": before, "int8": after}, samples, load_target("host"))
    assert (found["int8"].n, found["int8"].lost, found["int8"].gained) == (4, 2, 1)
    assert found["int8"].points == 25.0
    assert found["fp32"].points == 0.0


def test_without_labels_models_that_pick_other_values_are_no_likeness(tmp_path: Path) -> None:
    paths = []
    for name, floor in (("a", 0.5), ("b", 0.95)):
        text = (
            f"g (float[n, 4] x) => (int64[2, k] p) <float floor = {{{floor}}}> {{ on = Greater (x, floor) p = NonZero (on) }}"
        )
        paths.append(tmp_path / f"{name}.onnx")
        onnx.save(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}'), paths[-1])
    samples = from_arrays({"x": SAMPLES * 0.9}, None)
    with pytest.raises(DataError, match=r"a\.onnx: what it loses cannot be told without labels: output 'p' has another shape"):
        likeness(paths[1], samples, load_target("host"), paths[0])
    assert likeness(paths[0], samples, load_target("host"), paths[0]) == 1.0


def test_without_labels_it_says_what_is_needed(tmp_path: Path) -> None:
    model = write_linear(tmp_path / "model.onnx", np.eye(4))
    with pytest.raises(DataError, match="needs labelled samples"):
        accuracy_drops({"fp32": model}, from_arrays({"x": SAMPLES}, None), load_target("host"))


class Notes(progress.Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        """Keep the message."""
        self.notes.append(message)


def test_a_kept_metric_is_told_once_with_what_makes_it_doubtful(tmp_path: Path) -> None:
    model = write_linear(tmp_path / "model.onnx", np.eye(4))
    samples = from_arrays({"x": np.tile(SAMPLES, (10, 1))}, np.tile([1, 2, 3, 0], 10))  # labels of another order
    heard = Notes()
    with progress.listen(heard):
        measure = merits(samples, load_target("host"), SingleLabel())
        assert [measure(model), measure(model)] == [0.0, 0.0]
    assert heard.notes[0] == "accuracy of model.onnx: 0.0000"
    assert (
        len(heard.notes) == 2 and "right on 0.0% of the samples, and the most frequent class alone on 25.0%" in heard.notes[1]
    )


def test_one_model_alone_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    model = write_linear(tmp_path / "model.onnx", np.eye(4))
    with pytest.raises(RecipeError, match="name the floating-point model before this one"):
        accuracy_drops({"int8": model}, from_arrays({"x": SAMPLES}, np.arange(4)), load_target("host"))
