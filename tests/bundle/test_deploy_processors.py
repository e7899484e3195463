"""Preprocessing that travels with bundles beside transformers' processors, on a few images and texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.deploy import processors


def test_images_are_prepared_as_by_transformers_within_one_level(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    random = np.random.default_rng(0)
    for number, size in enumerate(((231, 300, 3), (90, 140, 3))):
        smooth = np.kron(random.integers(0, 256, (size[0] // 10, size[1] // 10, 3)), np.ones((10, 10, 1)))
        Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / f"{number}.png")
    rows = list(processors.image_differences(sorted(tmp_path.glob("*.png"))))
    assert len(rows) == 3
    for name, count, largest, mean, equal in rows:
        assert count == 2 and largest <= 1.001 and mean < 0.01 and equal > 0.99, (name, largest, mean, equal)


def test_texts_are_tokenized_as_by_transformers(data_root: Path) -> None:
    pytest.importorskip("transformers")
    folder, text = data_root / "sst2_teacher", data_root / "sst2" / "stsa.binary.dev"
    if not text.is_file() or not (folder / "tokenizer.json").is_file():
        pytest.skip("the data of sst2 is not here")
    assert processors.text_differences(text.read_text(encoding="utf-8").splitlines()[:60], folder) == 0
