"""ONNX files of single layers with other sizes, and which of them are measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgeopt.batches import Batch
from edgeopt.prune.latency.layers import LayerTimes, layer_model, sizes_of


@pytest.mark.parametrize(
    ("layer", "shape", "sizes"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (1, 4, 9, 9), (2, 3)),
        (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (1, 4, 9, 9), (3, 5)),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (1, 6, 5, 5), (4, 4)),
        (nn.Conv2d(12, 8, 3, padding=1, groups=4), (1, 12, 5, 5), (12, 8)),
        (nn.ConvTranspose2d(6, 6, 3, groups=6), (1, 6, 5, 5), (4, 4)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (1, 4, 5, 5), (2, 3)),
        (nn.Conv1d(4, 6, 3), (1, 4, 9), (2, 3)),
        (nn.Linear(4, 6), (2, 7, 4), (3, 2)),
    ],
    ids=["strided", "same", "depthwise", "grouped", "transposed-depthwise", "transposed", "1d", "linear"],
)
def test_a_layer_of_another_size_runs_with_the_shape_that_pytorch_gives(
    layer: nn.Module, shape: tuple[int, ...], sizes: tuple[int, int]
) -> None:
    model, batch = layer_model(layer, shape, *sizes)
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, batch)
    expected = list(layer(torch.zeros(shape)).shape)
    expected[1 if not isinstance(layer, nn.Linear) else -1] = sizes[1]
    assert list(found.shape) == expected and np.isfinite(found).all()
    if sizes == sizes_of(layer):
        weight = model.graph.initializers["weight_0"].const_value
        assert weight is not None and weight.numpy().shape == tuple(layer.weight.shape)  # type: ignore[arg-type]


class _Bench:
    """Counts what is measured; every layer takes 4 ms."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys = folder, []

    def known_ms(self, key: str) -> float | None:
        return 8.0 if key.endswith(" 1 4") else None

    def file(self, name: str) -> Path:
        place = self.folder / f"{len(self.keys)}-{name}"
        place.mkdir()
        return place / "model.onnx"

    def time_ms(self, path: Path, _: Batch, *, key: str) -> float:
        assert path.is_file()
        self.keys.append(key)
        return 4.0


def test_equal_layers_are_measured_once_and_known_ones_not_at_all(tmp_path: Path) -> None:
    bench, opened = _Bench(tmp_path), []

    @contextmanager
    def benches() -> Iterator[_Bench]:
        opened.append(1)
        yield bench

    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
    wrapped = _Named(model)
    times = LayerTimes(wrapped, {"image": np.zeros((1, 1, 8, 8), np.float32)}, benches)  # type: ignore[arg-type]
    assert times.whole() == 2.0 + 1.0 + 1.0  # four copies each
    assert len(bench.keys) == 1 and len(opened) == 1
    times.measure([("body.1", 4, 4)])
    assert len(opened) == 1
    assert times("body.1", 0, 4) == 0.0


class _Named(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(image)
        return result
