from __future__ import annotations

import io

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.graph import tensors as module
from edgeopt.graph.tensors import Rows, derived, write_tensor


def tensors(*shapes):
    rng = np.random.default_rng(0)
    return [ir.tensor(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


@pytest.mark.parametrize("slice_bytes", [1, 40, 10_000])
def test_rows_are_written_as_the_whole_would_be(tmp_path, monkeypatch, slice_bytes):
    monkeypatch.setattr(module, "SLICE_BYTES", slice_bytes)
    parts = tensors((5, 3), (5, 2))
    turned = ir.tensor(np.asfortranarray(parts[1].numpy()))
    expected = np.concatenate([parts[0].numpy(), parts[1].numpy()], axis=1)
    rows = Rows([parts[0], turned], name="joined")
    with (tmp_path / "rows").open("wb") as file:
        rows.tofile(file)
    assert (tmp_path / "rows").read_bytes() == expected.tobytes() == rows.tobytes()
    assert np.array_equal(rows.numpy(), expected) and rows.nbytes == expected.nbytes


def test_a_derived_tensor_is_computed_when_it_is_read():
    (whole,) = tensors((5, 3))
    turned = derived(whole, lambda array: array.T)
    assert turned.shape == [3, 5] and np.array_equal(turned.numpy(), whole.numpy().T)


@pytest.mark.parametrize("slice_bytes", [8, 10_000])
def test_large_tensors_are_written_in_slices(monkeypatch, slice_bytes):
    monkeypatch.setattr(module, "SLICE_BYTES", slice_bytes)
    (whole,) = tensors((6, 4))
    file = io.BytesIO()
    write_tensor(whole, file)
    assert file.getvalue() == whole.numpy().tobytes()
