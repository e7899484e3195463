"""The token embeddings of a transformers model."""

from __future__ import annotations

from typing import Any

from torch import nn


def token_embeddings(model: nn.Module) -> Any | None:
    """Return the layer that embeds a model's tokens; None: it has none (images, recordings, modules of other libraries)."""
    find = getattr(model, "get_input_embeddings", None)
    try:
        return find() if callable(find) else None
    except NotImplementedError:  # what transformers raises for networks whose input is no text, such as MobileNetV2
        return None
