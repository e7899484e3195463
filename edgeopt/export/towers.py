"""Models with a tower for text and one for images: each alone, or both with the scores between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgeopt.export.family import Config, Input, Module, Task

_SCORES = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")


def _images(config: Config, axis: str = "batch") -> Mapping[str, Input]:
    vision = config.vision_config
    return {"pixel_values": Input((axis, int(vision.num_channels), int(vision.image_size), int(vision.image_size)))}


def _texts(*, masked: bool, axis: str = "batch") -> Callable[[Config], Mapping[str, Input]]:
    def inputs(config: Config) -> Mapping[str, Input]:  # noqa: ARG001
        found = {"input_ids": Input((axis, "sequence"), "tokens")}
        return found | {"attention_mask": Input((axis, "sequence"), "mask")} if masked else found

    return inputs


def _tower(method: str, output: str) -> Callable[[Module], Module]:
    """Return a wrapper that calls the model's `method` and names the pooled vector `output`."""

    def wrap(model: Module) -> Module:
        import torch

        class Tower(torch.nn.Module):
            """One of the two towers."""

            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
                """Return the tower's vector, [batch, features]."""
                produced: Any = getattr(self.model, method)(**inputs)
                return {output: getattr(produced, "pooler_output", produced)}

        return Tower()

    return wrap


def two_towers(head: str, *, masked: bool) -> dict[str, Task]:
    """Return the tasks of a model whose class ends in `head`; `masked`: whether its texts have a mask."""
    both = _texts(masked=masked, axis="texts")
    return {
        "zero-shot-image-classification": Task(
            (head,), "AutoModel", lambda config: {**both(config), **_images(config, "images")}, _SCORES
        ),
        "text-embedding": Task(
            (head,), "AutoModel", _texts(masked=masked), ("text_embeds",), wrap=_tower("get_text_features", "text_embeds")
        ),
        "image-embedding": Task(
            (head,), "AutoModel", _images, ("image_embeds",), wrap=_tower("get_image_features", "image_embeds")
        ),
    }
