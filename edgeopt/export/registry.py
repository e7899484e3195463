"""Registry of families: edgeopt's by an explicit table, third parties' by entry points."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from edgeopt.errors import ModelError, nearest
from edgeopt.export.family import Family

GROUP = "edgeopt.exporters"
"""The entry-point group; an entry names a module that has a `FAMILY`."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "albert": ("albert",),
    "ast": ("audio-spectrogram-transformer",),
    "bart": ("bart",),
    "beit": ("beit",),
    "bert": ("bert",),
    "clip": ("clip",),
    "convnext": ("convnext",),
    "convnextv2": ("convnextv2",),
    "deberta_v2": ("deberta-v2",),
    "deit": ("deit",),
    "depth_anything": ("depth_anything",),
    "detr": ("detr",),
    "dinov2": ("dinov2",),
    "distilbert": ("distilbert",),
    "efficientnet": ("efficientnet",),
    "electra": ("electra",),
    "gemma": ("gemma",),
    "glm": ("glm", "glm4"),
    "gpt2": ("gpt2",),
    "hubert": ("hubert",),
    "llama": ("llama",),
    "marian": ("marian",),
    "mistral": ("mistral",),
    "mobilenet_v1": ("mobilenet_v1",),
    "mobilenet_v2": ("mobilenet_v2",),
    "mobilevit": ("mobilevit",),
    "modernbert": ("modernbert",),
    "mpnet": ("mpnet",),
    "opt": ("opt",),
    "phi": ("phi",),
    "qwen2": ("qwen2",),
    "qwen3": ("qwen3",),
    "regnet": ("regnet",),
    "resnet": ("resnet",),
    "roberta": ("roberta", "camembert"),
    "rt_detr": ("rt_detr",),
    "segformer": ("segformer",),
    "siglip": ("siglip",),
    "smollm3": ("smollm3",),
    "swin": ("swin",),
    "t5": ("t5",),
    "vit": ("vit",),
    "wav2vec2": ("wav2vec2",),
    "whisper": ("whisper",),
    "xlm_roberta": ("xlm-roberta",),
    "yolos": ("yolos",),
}
"""The modules of ``exporters/`` and the `model_type`s each is for."""


def load_family(name: str) -> Family:
    """Return the family called `name`.

    Raises:
        ModelError: there is none.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name in installed:
        found = installed[name].load()
    elif name in FAMILIES:
        found = import_module(f"edgeopt.exporters.{name}")
    else:
        known = family_names()
        raise ModelError(f"family '{name}' does not exist{nearest(name, known)}; known: {', '.join(known)}")
    family: Family = getattr(found, "FAMILY", found)
    return family


def family_names() -> list[str]:
    """Return the names of all families, edgeopt's and third parties', sorted."""
    return sorted({*FAMILIES, *(point.name for point in entry_points(group=GROUP))})


def family_of(model_type: str) -> Family:
    """Return the family for models with this `model_type` in their configuration.

    Raises:
        ModelError: no family knows it; the message names the nearest one and the alternative.
    """
    for point in entry_points(group=GROUP):
        if model_type in load_family(point.name).model_types:
            return load_family(point.name)
    for name, types in FAMILIES.items():
        if model_type in types:
            return load_family(name)
    known = {kind: name for name, types in FAMILIES.items() for kind in types}
    raise ModelError(
        f"no family exports models of type '{model_type}'{nearest(model_type, known)}; families: {', '.join(family_names())}; "
        f"for any other module set family 'generic' and give samples named as the arguments of its forward(): "
        f"--set family=generic --data FILE.npz"
    )
