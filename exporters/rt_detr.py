"""RT-DETR (https://arxiv.org/abs/2304.08069): detection in real time, with deformable attention."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace
from inspect import unwrap
from types import FunctionType, MethodType
from typing import Any

from edgeopt.export.family import Family, Module
from edgeopt.export.vision import DETECTION


def _dynamic_batch(model: Module) -> Module:
    """Wrap a model so that its batch stays symbolic: its code asks ``len(tensor)``, which Python makes a plain number.

    ``Tensor.__len__`` must return an int, so no subclass or mode of torch can help. The inner model's forward runs as a copy
    whose global names are transformers' own but for `len`; transformers' module and all other models stay as they are.
    """
    import torch

    inner = model.model
    forward = unwrap(type(inner).forward)

    def length(value: Sized) -> Any:
        return value.shape[0] if isinstance(value, torch.Tensor) else len(value)

    own = FunctionType(forward.__code__, {**forward.__globals__, "len": length}, closure=forward.__closure__)
    own.__defaults__, own.__kwdefaults__ = forward.__defaults__, forward.__kwdefaults__

    class Detector(torch.nn.Module):
        """RT-DETR, in which `len` gives a tensor's size as it is traced."""

        def __init__(self) -> None:
            super().__init__()
            self.detector = model

        def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
            """Return `logits` and `pred_boxes`."""
            inner.forward = MethodType(own, inner)
            try:
                produced = self.detector(pixel_values=pixel_values)
            finally:
                del inner.forward
            return {"logits": produced.logits, "pred_boxes": produced.pred_boxes}

    return Detector()


FAMILY = Family(
    name="rt_detr",
    model_types=("rt_detr",),
    tasks={"object-detection": replace(DETECTION, wrap=_dynamic_batch)},
    tiny={
        "image_size": 64,
        "d_model": 32,
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [16, 24, 32],
        "decoder_in_channels": [32, 32, 32],
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "num_queries": 5,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "num_denoising": 0,
        "hidden_expansion": 0.5,
        "backbone": None,
        "use_timm_backbone": False,
        "backbone_config": {
            "model_type": "rt_detr_resnet",
            "embedding_size": 8,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
    },
)
