"""Arrays from files: one .npz, folders of .npy and of .npz; what is a label, what is one sample, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeopt.data.arrays import read_arrays
from edgeopt.data.source import open_source
from edgeopt.errors import DataError
from edgeopt.graph.signature import Signature, TensorSpec

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


def signature(**shapes: tuple[int | str, ...]) -> Signature:
    return Signature(tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items()), ())


def test_arrays_in_one_file_and_in_many(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", x=np.arange(6.0).reshape(3, 2), labels=np.array([2, 0, 1]))
    whole = open_source(str(tmp_path / "all.npz"))
    folder = tmp_path / "parts"
    folder.mkdir()
    np.savez(folder / "a.npz", x=np.zeros((2, 5)), labels=np.array([1, 1]))
    np.savez(folder / "b.npz", x=np.ones((1, 7)), labels=np.array([4]))
    parts = open_source(str(folder))
    assert (len(whole), len(parts)) == (3, 3)
    assert [parts[index]["x"].shape for index in range(3)] == [(5,), (5,), (7,)]
    assert parts.labels is not None
    assert parts.labels.tolist() == [1, 1, 4]
    np.savez(folder / "b.npz", x=np.ones((1, 7)))
    with pytest.raises(DataError, match=r"some of the \.npz files have labels"):
        open_source(str(folder))


@pytest.mark.parametrize(
    ("labels", "taken"),
    [
        (np.array([2, 0, 1]), True),
        (np.array([2, 0, 1], np.uint8), True),
        (np.array([2.0, 0.0, 1.0]), False),
        (np.array([[2], [0], [1]]), False),
    ],
)
def test_labels_are_integers_with_one_axis(tmp_path: Path, labels: np.ndarray, taken: bool) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS, labels=labels)
    samples = read_arrays(tmp_path / "a.npz")
    assert (samples.labels is not None) == taken
    assert set(samples[0]) == ({"x"} if taken else {"x", "labels"})
    if samples.labels is not None:
        assert samples.labels.tolist() == [2, 0, 1] and samples.labels.dtype == np.int64


def test_what_the_model_calls_labels_and_what_stands_alone_is_an_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS, labels=np.array([2, 0, 1]))
    samples = read_arrays(tmp_path / "a.npz", inputs=["x", "labels"])
    assert samples.labels is None and int(samples[0]["labels"]) == 2
    np.savez(tmp_path / "b.npz", labels=np.array([2, 0, 1]))
    alone = read_arrays(tmp_path / "b.npz")
    assert alone.labels is None and int(alone[2]["labels"]) == 1


def test_a_folder_holds_one_file_per_input(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    np.save(tmp_path / "labels.npy", np.array([1, 0, 1]))
    samples = read_arrays(tmp_path, inputs=["x"])
    assert len(samples) == 3 and samples[1]["x"].tolist() == [2.0, 3.0]
    assert samples.labels is not None and samples.labels.tolist() == [1, 0, 1]
    np.savez(tmp_path / "more.npz", x=ROWS)
    assert len(read_arrays(tmp_path, inputs=["x"])) == 3, "beside .npy files an .npz is not read"


def test_files_without_a_name_of_an_input_are_one_sample_each(tmp_path: Path) -> None:
    for number in (1, 0, 2):
        np.save(tmp_path / f"{number:03}.npy", np.full((number + 1, 2), number, np.float32))
    samples = read_arrays(tmp_path, inputs=["x"])
    assert [samples[index]["x"].shape for index in range(3)] == [(1, 2), (2, 2), (3, 2)]
    assert samples[2]["x"][0, 0] == 2
    assert read_arrays(tmp_path, signature(x=("n", 2)))[1]["x"].shape == (2, 2)
    before = samples.digest
    (tmp_path / "002.npy").rename(tmp_path / "003.npy")
    assert read_arrays(tmp_path, inputs=["x"]).digest != before
    with pytest.raises(DataError, match=r"000\.npy is not an input of the model: x, mask; for one sample per file write \.npz"):
        read_arrays(tmp_path, inputs=["x", "mask"])
    with pytest.raises(DataError, match="differ in their number of samples"):
        read_arrays(tmp_path)


def test_an_array_of_exactly_the_models_shape_belongs_to_all_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS, rate=np.float32(0.5))
    samples = read_arrays(tmp_path / "a.npz", signature(x=("batch", 2), rate=()))
    assert len(samples) == 3 and samples.shared == {"rate"}
    assert [float(samples[index]["rate"]) for index in range(3)] == [0.5, 0.5, 0.5]
    with pytest.raises(DataError, match=r"a\.npz: arrays differ in their number of samples"):
        read_arrays(tmp_path / "a.npz")


def test_parts_follow_each_other_by_name_and_each_counts(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x=ROWS + 10)
    np.savez(tmp_path / "a.npz", x=ROWS[:1])
    samples = read_arrays(tmp_path)
    assert [float(samples[index]["x"][0]) for index in (3, 0, 1)] == [14.0, 0.0, 10.0]
    before = samples.digest
    np.savez(tmp_path / "b.npz", x=ROWS + 11)
    assert read_arrays(tmp_path).digest != before
    np.savez(tmp_path / "b.npz", y=ROWS)
    with pytest.raises(DataError, match=r"b\.npz: holds y, and a\.npz x; store the same inputs in all files"):
        read_arrays(tmp_path)


def test_what_holds_no_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such calibration data"):
        read_arrays(tmp_path / "none.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(DataError, match="no arrays in it"):
        read_arrays(tmp_path / "empty.npz")
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 2)))
    with pytest.raises(DataError, match="the arrays hold no samples"):
        read_arrays(tmp_path / "none.npz")
    np.save(tmp_path / "x.npy", ROWS)
    with pytest.raises(DataError, match=r"x\.npy: a single array; store it in an \.npz"):
        read_arrays(tmp_path / "x.npy")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.npz").mkdir()
    with pytest.raises(DataError, match=r"inner\.npz: no arrays in it"):
        read_arrays(tmp_path / "sub")
