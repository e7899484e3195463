"""Towers for text and images: each alone gives the vector that the whole model compares."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family
from edgeopt.export.towers import two_towers

CONFIG = SimpleNamespace(vision_config=SimpleNamespace(num_channels=3, image_size=32))


@pytest.mark.parametrize("masked", [True, False])
def test_texts_and_images_are_counted_apart_where_both_are_compared(masked: bool) -> None:
    tasks = two_towers("CLIPModel", masked=masked)
    mask = {"attention_mask"} if masked else set()
    both = tasks["zero-shot-image-classification"].inputs(CONFIG)
    assert set(both) == {"input_ids", "pixel_values"} | mask
    assert both["input_ids"].shape == ("texts", "sequence") and both["pixel_values"].shape == ("images", 3, 32, 32)
    text = tasks["text-embedding"].inputs(CONFIG)
    assert set(text) == {"input_ids"} | mask and text["input_ids"].shape == ("batch", "sequence")
    assert {name: value.shape for name, value in tasks["image-embedding"].inputs(CONFIG).items()} == {
        "pixel_values": ("batch", 3, 32, 32)
    }


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_tower_gives_the_vector_of_the_whole_model_before_it_is_normalised(name: str) -> None:
    family = load_family(name)
    model = tiny_model(family, "zero-shot-image-classification")
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    texts = {"input_ids": torch.tensor([[7, 11, 99, 0], [13, 17, 19, 99]])}
    if name == "clip":
        texts["attention_mask"] = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    with torch.no_grad():
        whole = model(pixel_values=images, **texts)
        found = {
            **family.tasks["text-embedding"].wrap(model)(**texts),
            **family.tasks["image-embedding"].wrap(model)(pixel_values=images),
        }
    assert list(found) == ["text_embeds", "image_embeds"]
    for output, vectors in found.items():
        torch.testing.assert_close(torch.nn.functional.normalize(vectors, dim=-1), whole[output], atol=1e-5, rtol=1e-4)


def test_a_tower_that_returns_the_vector_itself_is_understood() -> None:
    """As transformers did before it returned the pooled vector in an object."""
    model = SimpleNamespace(get_text_features=lambda input_ids: input_ids * 2.0)
    module = torch.nn.Module()
    module.get_text_features = model.get_text_features  # type: ignore[assignment]
    found = two_towers("X", masked=False)["text-embedding"].wrap(module)(input_ids=torch.ones(1, 2))
    assert found["text_embeds"].tolist() == [[2.0, 2.0]]
