"""One model of every family at the widths people deploy, with few layers and random weights: milliseconds, not overhead.

What a layer costs is the same in all layers of a network, so two of them tell which exporter's graph is faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeopt.export.family import Family
from edgeopt.export.registry import FAMILIES, load_family

_WIDTHS: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 384,
    "reassemble_hidden_size": 384,
    "d_model": 384,
    "intermediate_size": 1536,
    "d_ff": 1536,
    "d_kv": 64,
    "num_attention_heads": 6,
    "num_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 1536,
    "ffn_dim": 1536,
    "word_embed_proj_dim": 384,
    "dim": 384,
    "hidden_dim": 1536,
    "n_heads": 6,
    "n_embd": 384,
    "n_head": 6,
    "embedding_size": 128,
    "image_size": 224,
    "patch_size": 16,
    "projection_dim": 256,
    "projection_size": 384,
    "max_position_embeddings": 514,
    "n_positions": 512,
    "max_length": 256,
    "num_mel_bins": 80,
    "max_source_positions": 200,
    "num_queries": 50,
}
_OWN: dict[str, dict[str, Any]] = {
    "mobilenet_v1": {},
    "mobilenet_v2": {},
    "efficientnet": {"image_size": 224, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280},
    "resnet": {"depths": [1, 1, 1, 1]},
    "regnet": {"hidden_sizes": [64, 128, 256, 512], "depths": [1, 1, 1, 1], "groups_width": 64},
    "convnext": {"depths": [1, 1, 1, 1]},
    "convnextv2": {"depths": [1, 1, 1, 1]},
    "mobilevit": {"image_size": 256, "initializer_range": 0.1},  # narrower, the outputs are too small for float32
    "rt_detr": {
        "image_size": 320,
        "d_model": 256,
        "encoder_hidden_dim": 256,
        "encoder_in_channels": [128, 256, 512],
        "decoder_in_channels": [256, 256, 256],
        "encoder_layers": 1,
        "decoder_layers": 3,
        "num_queries": 100,
        "num_denoising": 0,
        "backbone": None,
        "use_timm_backbone": False,
        "backbone_config": {
            "model_type": "rt_detr_resnet",
            "embedding_size": 64,
            "hidden_sizes": [64, 128, 256, 512],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
    },
    "swin": {"depths": [1, 1, 2, 1]},
    "segformer": {"image_size": 256, "depths": [1, 1, 1, 1]},
    "dinov2": {"patch_size": 14, "hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 2, "image_size": 224},
    "wav2vec2": {
        "hidden_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
        "conv_dim": [128] * 7,
    },
    "hubert": {
        "hidden_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
        "conv_dim": [128] * 7,
    },
}
_TASKS = ("text-classification", "image-classification", "text-generation", "audio-classification")


def wide(family: Family) -> dict[str, Any]:
    """Return the configuration to measure."""
    return _OWN[family.name] if family.name in _OWN else _widen(family.tiny, family.name)


def _widen(tiny: Mapping[str, Any], name: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for key, value in tiny.items():
        if isinstance(value, Mapping):
            config[key] = _widen(value, name)
        else:
            config[key] = _WIDTHS.get(key, value) if isinstance(value, int) and not isinstance(value, bool) else value
    if name == "depth_anything" and "patch_size" in config:
        config["patch_size"] = 14
    return config


def cases() -> list[tuple[str, str]]:
    """Return (family, task) of everything that is measured: one task per family, both halves of an encoder-decoder."""
    found = []
    for name in FAMILIES:
        tasks = list(load_family(name).tasks)
        main = [task for task in _TASKS if task in tasks]
        halves = [task for task in tasks if "/" in task and "/optimum" not in task]  # the other layout: the same models
        found += [(name, task) for task in halves or main[:1] or tasks[:1]]
    return found


def build(family: Family, task: str) -> Any:
    """Return the random model, in evaluation mode, the same at every call."""
    import torch
    import transformers

    config = transformers.CONFIG_MAPPING[family.model_types[0]](**wide(family))
    config.architectures = []
    torch.manual_seed(0)
    return getattr(transformers, family.tasks[task].auto).from_config(config).eval()


def sizes(task: str) -> dict[str, dict[str, int]]:
    """Return the axis sizes of each shape that `task` is measured at, by a short name."""
    once = {
        "batch": 1,
        "texts": 1,
        "images": 1,
        "samples": 16000,
        "frames": 64,
        "source": 64,
        "sequence": 16,
        "past_sequence": 0,
    }
    if task.startswith("text-classification"):
        return {f"{length} tokens": {**once, "sequence": length} for length in (16, 64, 128)}
    if task == "text-generation":
        prompt = {**once, "sequence": 48}
        return {"prompt of 48": prompt, "token after 48": {**once, "sequence": 1, "past_sequence": 48}}
    if task.endswith("/decoder"):
        return {"token after 16": {**once, "sequence": 1, "past_sequence": 16}}
    return {"batch 1": once}
