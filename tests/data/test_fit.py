"""Samples of files as batches of a model: stacked, whole, shared, grouped to a fixed batch; models from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.batches import Array, Batch
from edgeopt.data.fit import fit, floats_as
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError
from edgeopt.evaluate.outputs import onnx_outputs
from edgeopt.graph import files
from edgeopt.graph.batch_axes import batch_axes
from edgeopt.graph.provider import Provider
from edgeopt.graph.signature import Signature, TensorSpec

VALUES = np.random.default_rng(3)
CPU = Provider()


def signature(**shapes: Any) -> Signature:
    return Signature(tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items()), ())


def made(*shape: int) -> Array:
    return VALUES.standard_normal(shape).astype(np.float32)


def read(tmp_path: Path, model: Signature, **arrays: Array) -> Samples:
    np.savez(tmp_path / "samples.npz", **arrays)
    return open_source(str(tmp_path / "samples.npz"), Reader(tuple(spec.name for spec in model.inputs), None, model))


def shapes(batches: list[Batch], name: str) -> list[tuple[int, ...]]:
    return [batch[name].shape for batch in batches]


def test_samples_are_grouped_to_a_fixed_batch(tmp_path: Path) -> None:
    x = made(10, 16)
    batches = list(read(tmp_path, signature(x=(4, 16)), x=x).batches(1))
    assert shapes(batches, "x") == [(4, 16)] * 3
    np.testing.assert_array_equal(np.concatenate([batch["x"] for batch in batches])[:10], x)
    np.testing.assert_array_equal(batches[2]["x"], x[[8, 9, 8, 9]])


def test_a_file_may_hold_exactly_the_models_shapes(tmp_path: Path) -> None:
    whole = read(tmp_path, signature(x=(4, 16)), x=made(6, 4, 16))
    assert (len(whole), shapes(list(whole.batches(1)), "x")) == (6, [(4, 16)] * 6)
    one = read(tmp_path, signature(x=("t", 16), s=(1, 32)), x=made(50, 16), s=made(1, 32))
    assert (len(one), shapes(list(one.batches(1)), "x"), shapes(list(one.batches(1)), "s")) == (1, [(50, 16)], [(1, 32)])


def test_states_and_scalars_come_for_each_sample_or_once_for_all(tmp_path: Path) -> None:
    model = signature(x=(1, 512), state=(2, 1, 128), rate=())
    for state, rate in ((made(2, 1, 128), made()), (made(5, 2, 1, 128), made(5)), (made(5, 2, 128), made(1)[0])):
        batches = list(read(tmp_path, model, x=made(5, 512), state=state, rate=np.asarray(rate)).batches(8))
        assert shapes(batches, "x") == [(1, 512)] * 5
        assert shapes(batches, "state") == [(2, 1, 128)] * 5
        assert shapes(batches, "rate") == [()] * 5
    each = read(tmp_path, signature(x=("n", 4), t=()), x=made(3, 4), t=np.array([7, 8, 9], np.float32))
    assert [float(batch["t"]) for batch in each.batches(2)] == [7, 8, 9]
    once = read(tmp_path, signature(x=("n", 4), t=()), x=made(3, 4), t=np.array(7, np.float32))
    assert [(batch["x"].shape, float(batch["t"])) for batch in once.batches(2)] == [((2, 4), 7), ((1, 4), 7)]


def test_samples_are_stacked_along_the_models_batch_axis(tmp_path: Path) -> None:
    x, h = made(5, 10, 6), made(5, 1, 8)
    batches = list(read(tmp_path, signature(x=(10, "b", 6), h=(1, "b", 8)), x=x, h=h).batches(3))
    assert shapes(batches, "x") == [(10, 3, 6), (10, 2, 6)]
    np.testing.assert_array_equal(batches[0]["x"], x[:3].transpose(1, 0, 2))
    np.testing.assert_array_equal(batches[1]["h"], h[3:].transpose(1, 0, 2))


def test_axes_of_any_size_and_of_unknown_number(tmp_path: Path) -> None:
    unranked = Signature((TensorSpec("x", "float32", (), ranked=False),), ())
    assert shapes(list(read(tmp_path, unranked, x=made(3, 2, 5)).batches(2)), "x") == [(2, 2, 5), (1, 2, 5)]
    free = signature(x=("?", 3, "?", "?"))
    assert shapes(list(read(tmp_path, free, x=made(2, 3, 8, 9)).batches(1)), "x") == [(1, 3, 8, 9)] * 2


def test_a_shape_that_fits_in_no_way_is_said_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"input 'x': a sample has shape \[3, 9\], the model takes \[n, 3, 8\], or \[3, 8\] for"
    ):
        read(tmp_path, signature(x=("n", 3, 8)), x=made(5, 3, 9))
    with pytest.raises(DataError, match="differ in their number of samples"):
        read(tmp_path, signature(x=("n", 3), y=("n", 3)), x=made(5, 3), y=made(4, 3))


def test_an_input_called_labels_is_an_input(tmp_path: Path) -> None:
    model = Signature((TensorSpec("x", "float32", ("n", 2)), TensorSpec("labels", "int64", ("n",))), ())
    samples = read(tmp_path, model, x=made(3, 2), labels=np.array([4, 5, 6]))
    assert samples.labels is None
    assert [batch["labels"].tolist() for batch in samples.batches(1)] == [[4], [5], [6]]


def test_a_folder_of_numbered_files_is_one_sample_a_file(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number:03}.npy", np.full((2, 4 + number), number, np.float32))
    one = Reader(("audio",), None, signature(audio=("n", 2, "t")))
    batches = list(open_source(str(tmp_path), one).batches(1))
    assert [(batch["audio"].shape, batch["audio"].max()) for batch in batches] == [
        ((1, 2, 4), 0),
        ((1, 2, 5), 1),
        ((1, 2, 6), 2),
    ]
    with pytest.raises(
        DataError, match=r"each \.npy file is one input, named after it, and 000\.npy is not an input of the model: a, b"
    ):
        open_source(str(tmp_path), Reader(("a", "b"), None, signature(a=("n", 2), b=("n", 2))))


def test_outputs_of_a_fixed_batch_are_those_of_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    text = '<ir_version: 8, opset_import: ["" : 17]> m (float[4,3] x) => (float[4,3] y) { y = Neg(x) }'
    onnx.save(onnx.parser.parse_model(text), path)
    x = made(6, 3)
    np.testing.assert_array_equal(onnx_outputs(path, from_arrays({"x": x}), provider=CPU, name="m")["y"], -x)


def test_fitting_twice_changes_nothing() -> None:
    model = signature(x=(2, 3))
    once = fit(from_arrays({"x": made(4, 3)}), model)
    assert fit(once, model) is once


def test_every_file_of_the_zoo_takes_samples_given_in_each_form(tmp_path: Path, data_folder: Callable[[str], Path]) -> None:
    paths = [*data_folder("onnx_zoo").glob("*.onnx"), *data_folder("silero_vad").glob("*.onnx")]
    given = 0
    for file in sorted(paths):
        model = files.signature(files.load(file))
        axes = batch_axes(model)
        try:
            session = ort.InferenceSession(file, _silent(), providers=["CPUExecutionProvider"])
        except Exception:  # noqa: BLE001  (onnxruntime refuses one of the files)
            continue
        for form in ("each", "whole", "once"):
            arrays = {spec.name: _values(spec, axes[spec.name], form) for spec in model.inputs}
            batches = list(read(tmp_path, model, **arrays).batches(1))
            assert len(batches) == 1 if form == "once" else len(batches) > 1, f"{file.name}, {form}"
            for batch in batches:
                session.run(None, dict(batch))
            given += 1
    assert given >= 3 * 70


def _silent() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return options


def _values(spec: TensorSpec, axis: int | None, form: str) -> Array:
    """Return 8 samples, without the batch axis or of the model's whole shape, or a single one."""
    free = {"samples": 16000}
    sizes = [
        size if isinstance(size, int) else 1 if place == axis else free.get(size, 512) for place, size in enumerate(spec.shape)
    ]
    if form == "each" and axis is not None:
        sizes = [8, *sizes[:axis], *sizes[axis + 1 :]]
    elif form != "once":
        sizes = [8, *sizes]
    if spec.name == "sr":
        return np.full(sizes, 16000, np.int64)
    whole = VALUES.integers(0, 2, sizes) if spec.dtype.startswith("int") else VALUES.standard_normal(sizes)
    return np.asarray(whole, spec.dtype)


@pytest.mark.parametrize(
    ("given", "wanted", "cast"),
    [
        ("float64", "float32", True),
        ("uint8", "float32", True),
        ("int32", "int64", True),
        ("float32", "int64", False),
        ("int64", "int32", False),
        ("float32", "float32", False),
    ],
)
def test_values_are_converted_where_they_keep_their_meaning(given: str, wanted: str, cast: bool) -> None:
    signature = Signature((TensorSpec("x", wanted, ("batch", 3)),), ())
    fitted = fit(from_arrays({"x": np.arange(6).reshape(2, 3).astype(given)}), signature)
    assert fitted[1]["x"].dtype.name == (wanted if cast else given)
    assert fitted[1]["x"].tolist() == [3, 4, 5]


def test_double_precision_becomes_the_type_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr("edgeopt.progress.note", notes.append)
    samples = from_arrays({"x": np.ones((2, 3)), "ids": np.ones((2, 3), np.int64)})
    found = floats_as(samples, "float32")[0]
    assert (found["x"].dtype, found["ids"].dtype) == (np.float32, np.int64)
    assert notes == ["input 'x': float64 is converted to float32, which the model takes"]
    assert floats_as(samples, "float64") is samples
    images = from_arrays({"image": np.full((2, 3), 200, np.uint8), "mask": np.ones((2, 3), np.uint8)})
    found = floats_as(images, "float32")[1]
    assert (found["image"].dtype, found["image"].tolist(), found["mask"].dtype) == (np.float32, [200.0] * 3, np.uint8)
    assert notes[1].startswith("input 'image': uint8 is converted to float32, which the model takes; whole numbers stay whole")
