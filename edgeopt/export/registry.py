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
    "arcee": ("arcee",),
    "ast": ("audio-spectrogram-transformer",),
    "bart": ("bart",),
    "beit": ("beit",),
    "bert": ("bert",),
    "bit": ("bit",),
    "blenderbot_small": ("blenderbot-small",),
    "bloom": ("bloom",),
    "clip": ("clip",),
    "codegen": ("codegen",),
    "cohere": ("cohere", "cohere2"),
    "convbert": ("convbert",),
    "convnext": ("convnext",),
    "convnextv2": ("convnextv2",),
    "deberta": ("deberta",),
    "deberta_v2": ("deberta-v2",),
    "deit": ("deit",),
    "depth_anything": ("depth_anything",),
    "detr": ("detr",),
    "dinov2": ("dinov2",),
    "dinov2_with_registers": ("dinov2_with_registers",),
    "distilbert": ("distilbert",),
    "efficientnet": ("efficientnet",),
    "electra": ("electra",),
    "ernie": ("ernie",),
    "ernie4_5": ("ernie4_5",),
    "exaone4": ("exaone4",),
    "focalnet": ("focalnet",),
    "gemma": ("gemma",),
    "gemma2": ("gemma2",),
    "gemma3": ("gemma3_text",),
    "glm": ("glm", "glm4"),
    "gpt2": ("gpt2",),
    "gpt_neo": ("gpt_neo",),
    "gpt_neox": ("gpt_neox",),
    "gptj": ("gptj",),
    "granite": ("granite",),
    "helium": ("helium",),
    "hiera": ("hiera",),
    "hubert": ("hubert",),
    "hunyuan": ("hunyuan_v1_dense",),
    "levit": ("levit",),
    "llama": ("llama",),
    "m2m_100": ("m2m_100",),
    "marian": ("marian",),
    "mbart": ("mbart",),
    "mistral": ("mistral",),
    "mobilebert": ("mobilebert",),
    "mobilenet_v1": ("mobilenet_v1",),
    "mobilenet_v2": ("mobilenet_v2",),
    "mobilevit": ("mobilevit",),
    "modernbert": ("modernbert",),
    "mpnet": ("mpnet",),
    "mt5": ("mt5",),
    "nemotron": ("nemotron",),
    "olmo": ("olmo",),
    "olmo2": ("olmo2", "olmo3"),
    "opt": ("opt",),
    "pegasus": ("pegasus",),
    "phi": ("phi",),
    "phi3": ("phi3",),
    "poolformer": ("poolformer",),
    "pvt_v2": ("pvt_v2",),
    "qwen2": ("qwen2",),
    "qwen3": ("qwen3",),
    "regnet": ("regnet",),
    "rembert": ("rembert",),
    "resnet": ("resnet",),
    "roberta": ("roberta", "camembert"),
    "roformer": ("roformer",),
    "rt_detr": ("rt_detr",),
    "seed_oss": ("seed_oss",),
    "segformer": ("segformer",),
    "sew": ("sew",),
    "siglip": ("siglip",),
    "smollm3": ("smollm3",),
    "squeezebert": ("squeezebert",),
    "stablelm": ("stablelm",),
    "starcoder2": ("starcoder2",),
    "swiftformer": ("swiftformer",),
    "swin": ("swin",),
    "swinv2": ("swinv2",),
    "t5": ("t5",),
    "unispeech": ("unispeech",),
    "unispeech_sat": ("unispeech-sat",),
    "vit": ("vit",),
    "vit_msn": ("vit_msn",),
    "wav2vec2": ("wav2vec2",),
    "wavlm": ("wavlm",),
    "whisper": ("whisper",),
    "xlm_roberta": ("xlm-roberta",),
    "xlm_roberta_xl": ("xlm-roberta-xl",),
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
        f"no family exports models of type '{model_type}'{nearest(model_type, known)}; docs/families.md lists the "
        f"{len(family_names())} families; for any other module set family 'generic' and give samples named as the arguments "
        f"of its forward(): --set family=generic --data FILE.npz"
    )
