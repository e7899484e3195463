import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.quantize.calibrate.samples import checked

SIGNATURE = Signature((TensorSpec("x", "float32", ("n", 3, "h", "w")),), ())
FIXED = Signature((TensorSpec("x", "float32", (1, 3, 4, 4)),), ())


def good(size: int = 2, **changes: object) -> np.ndarray:
    return np.ones((size, 3, 4, 5), dtype=np.float32)


def fails(batches: list[dict[str, np.ndarray]]) -> str:
    with pytest.raises(DataError) as caught:
        list(checked(batches, SIGNATURE))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_good_batches_come_through_unchanged():
    batches = [{"x": good(2)}, {"x": np.ones((1, 3, 9, 9), dtype=np.float32)}]
    assert list(checked(batches, SIGNATURE)) == batches


def test_a_batch_axis_fixed_at_one_takes_any_batch_one_by_one():
    values = np.arange(3 * 48, dtype=np.float32).reshape(3, 3, 4, 4)
    rows = [batch["x"] for batch in checked([{"x": values}], FIXED)]
    assert [row.shape for row in rows] == [(1, 3, 4, 4)] * 3
    np.testing.assert_array_equal(np.concatenate(rows), values)


def test_padding_is_cut_off_left_and_right():
    names = ("input_ids", "attention_mask")
    signature = Signature(tuple(TensorSpec(name, "int64", ("b", "s")) for name in names), ())
    batch = {"input_ids": np.arange(15).reshape(3, 5), "attention_mask": np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1] * 5])}
    cut = [item["input_ids"].tolist() for item in checked([batch], signature)]
    assert cut == [[[0, 1]], [[7, 8, 9]], [[10, 11, 12, 13, 14]]]
    batch["attention_mask"][1] = 0
    with pytest.raises(DataError, match="sample 1, input 'attention_mask': hides every token"):
        list(checked([batch], signature))
    fixed = Signature(tuple(TensorSpec(name, "int64", ("b", 5)) for name in names), ())
    assert [item["input_ids"].shape for item in checked([batch], fixed)] == [(3, 5)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_name_sample_input_and_place(bad):
    third = good(2)
    third[1, 2, 3, 4] = bad
    message = fails([{"x": good(2)}, {"x": third}])
    assert "sample 3, input 'x'" in message
    assert "[2, 3, 4]" in message


def test_wrong_name_names_the_nearest():
    assert "no input 'X_'" in fails([{"X_": good()}])
    assert "'x' is missing" in fails([{}])


def test_wrong_dtype_and_shape_say_what_is_taken():
    assert "dtype is float64, the model takes float32" in fails([{"x": good().astype(np.float64)}])
    assert "shape is [2, 4, 4, 4], the model takes [n, 3, h, w]" in fails([{"x": np.ones((2, 4, 4, 4), dtype=np.float32)}])
    assert "shape is [3, 4, 5]" in fails([{"x": np.ones((3, 4, 5), dtype=np.float32)}])


def test_no_samples_at_all():
    assert "empty" in fails([])
    assert "empty" in fails([{"x": good(0)}])


def test_an_input_without_a_batch_axis_is_never_cut():
    timed = Signature((TensorSpec("x", "float32", ("t", 16)), TensorSpec("s", "float32", (1, 32))), ())
    batch = {"x": np.ones((50, 16), np.float32), "s": np.ones((1, 32), np.float32)}
    assert list(checked([batch], timed)) == [batch]
    recurrent = Signature((TensorSpec("x", "float32", (10, "b", 6)), TensorSpec("h0", "float32", (1, "b", 8))), ())
    batch = {"x": np.ones((10, 4, 6), np.float32), "h0": np.ones((1, 4, 8), np.float32)}
    assert list(checked([batch], recurrent)) == [batch]


def test_only_what_is_too_long_for_a_fixed_batch_is_cut_and_along_its_own_axis():
    signature = Signature(
        (TensorSpec("x", "float32", (2, 3)), TensorSpec("y", "float32", (2, 5)), TensorSpec("t", "float32", ())), ()
    )
    x, y, t = np.arange(18, dtype=np.float32).reshape(6, 3), np.ones((2, 5), np.float32), np.float32(7)
    parts = list(checked([{"x": x, "y": y, "t": np.asarray(t)}], signature))
    assert [part["x"].tolist() for part in parts] == [x[:2].tolist(), x[2:4].tolist(), x[4:].tolist()]
    assert all(part["y"] is parts[0]["y"] and part["t"].shape == () for part in parts)
    with pytest.raises(DataError, match=r"input 'x': shape is \[5, 3\], the model takes \[2, 3\]"):
        list(checked([{"x": x[:5], "y": y, "t": np.asarray(t)}], signature))
    with pytest.raises(DataError, match="differ in their number of samples"):
        list(checked([{"x": x, "y": np.ones((4, 5), np.float32), "t": np.asarray(t)}], signature))


MASK = TensorSpec("attention_mask", "int64", ("b", "s"))
HIDDEN = {"attention_mask": np.array([[1, 1, 0, 0], [0, 1, 1, 1]])}


def test_padding_is_cut_off_wherever_an_axis_counts_tokens():
    signature = Signature(
        (TensorSpec("embeds", "float32", ("b", "s", 4)), TensorSpec("far", "int64", ("b", "s", "s")), MASK), ()
    )
    batch = {"embeds": np.ones((2, 4, 4), np.float32), "far": np.ones((2, 4, 4), np.int64), **HIDDEN}
    shapes = [[item[name].shape for name in ("embeds", "far", "attention_mask")] for item in checked([batch], signature)]
    assert shapes == [[(1, size, 4), (1, size, size), (1, size)] for size in (2, 3)]


def test_a_mask_of_tokens_by_samples_is_left_whole():
    turned = Signature((TensorSpec("x", "float32", ("s", "b", 4)), TensorSpec("attention_mask", "int64", ("s", "b"))), ())
    batch = {"x": np.ones((4, 2, 4), np.float32), "attention_mask": HIDDEN["attention_mask"].T}
    assert list(checked([batch], turned)) == [batch]


def test_a_bad_number_is_found_along_the_axis_of_samples():
    signature = Signature((TensorSpec("x", "float32", ("time", "batch", 2)),), ())
    bad = np.ones((5, 3, 2), np.float32)
    bad[4, 1, 0] = np.nan
    with pytest.raises(DataError, match=r"sample 4, input 'x': holds nan at index \[4, 0\]"):
        list(checked([{"x": np.ones((5, 3, 2), np.float32)}, {"x": bad}], signature))
