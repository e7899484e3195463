"""The main families from real weights; everything else runs from tiny random ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from edgeopt.export import ExportConfig, export
from edgeopt.targets.target import load_target


@pytest.mark.data
def test_mobilenet_v2_agrees_on_real_pictures(tmp_path, data_folder):
    from transformers import AutoModelForImageClassification

    folder = data_folder("mobilenetv2_imagenet") / "hf"
    pictures = sorted(data_folder("nips17_imagenet_compatible").rglob("*.png"))[:4]
    if not pictures:
        pictures = sorted(data_folder("nips17_imagenet_compatible").rglob("*.jp*g"))[:4]
    samples = []
    for picture in pictures:
        pixels = np.asarray(Image.open(picture).convert("RGB").resize((224, 224)), np.float32) / 127.5 - 1
        samples.append({"pixel_values": pixels.transpose(2, 0, 1)[None].copy()})
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32)
    result = export(model, samples, target=load_target("x86-vnni"), output=tmp_path, config=ExportConfig(source_folder=folder))
    assert (result.family, result.task) == ("mobilenet_v2", "image-classification")
    assert result.op_counts["Conv"] == 52 and "BatchNormalization" not in result.op_counts
    assert result.parity.relative_error < 1e-4
    assert (tmp_path / "config.json").is_file() and (tmp_path / "preprocessor_config.json").is_file()
