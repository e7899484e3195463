"""What the engine must know of a decoder: how its inputs are called, how large its cache is, which tokens end a text.

`describe` reads it from the first of these files in the model's folder:

    generation.json      written beside every language model by edgeopt
    genai_config.json    onnxruntime-genai's; the same facts under other names
    config.json          transformers'; the names of inputs and outputs are then those of its ecosystem
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import FolderError

GENERATION_FILE = "generation.json"
GENAI_FILE = "genai_config.json"
MODEL_FILE = "model.onnx"
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Names:
    """Names of a decoder's inputs and outputs, with ``%d`` for the layer in those of the cache; None: there is none."""

    tokens: str = "input_ids"
    mask: str | None = "attention_mask"
    positions: str | None = "position_ids"
    asked: str | None = None
    """Which positions get logits; an input with a default."""
    past_key: str = "past_key_values.%d.key"
    past_value: str = "past_key_values.%d.value"
    logits: str = "logits"
    present_key: str = "present.%d.key"
    present_value: str = "present.%d.value"

    def __post_init__(self) -> None:
        for name in (self.past_key, self.past_value, self.present_key, self.present_value):
            try:
                numbered = name % 0
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name!r} names no input of each layer: it needs one %d") from error
            if not isinstance(numbered, str):
                raise ValueError(f"{name!r} is no name")  # noqa: TRY004  (as every wrong value in these files)


@dataclass(frozen=True)
class Description:
    """A decoder, as far as the engine must know it."""

    model: Path
    form: str
    """ "portable", "decoder-cpu" or "genai"."""
    layers: int
    kv_heads: int
    head_size: int
    context: int
    """The largest number of positions, prompt and answer together."""
    vocabulary: int | None
    cache_type: str
    """numpy's name of the type of the cache."""
    shared_cache: bool
    """Whether past and present may be one buffer of fixed length."""
    eos: tuple[int, ...]
    bos: int | None
    names: Names = Names()
    suppressed: tuple[int, ...] = ()
    """Tokens that are never generated."""

    @property
    def cache_bytes_per_token(self) -> int:
        """Bytes of keys and values of one token in all layers."""
        width = 2 if self.cache_type == "float16" else 4
        return 2 * self.layers * self.kv_heads * self.head_size * width


def find_model(path: Path) -> Path:
    """Return the ONNX file at `path`: the file itself, or the decoder in a folder.

    Raises:
        FolderError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise FolderError(f"{path}: no such file or folder; give a folder that edgeopt export or quantize wrote")
    named = _read(path / GENERATION_FILE).get("model")
    candidates = [named, _genai_file(path), MODEL_FILE]
    for name in candidates:
        if isinstance(name, str) and name and (path / _inside(path, name)).is_file():
            return path / name
    if (path / "decoder_with_past_model.onnx").is_file():
        raise FolderError(f"{path}: has the layout of optimum's classes; export the model again without --layout optimum")
    files = sorted(path.glob("*.onnx"))
    if len(files) == 1:
        return files[0]
    found = f"it holds {len(files)} ONNX files" if files else "it holds no ONNX file"
    raise FolderError(f"{path}: {found} and no {MODEL_FILE}; give the folder of a language model, or one ONNX file")


def _inside(folder: Path, name: str) -> str:
    """Return the name of a model that a file in `folder` gives, if it is one of a file in there.

    Raises:
        FolderError: it leads out of the folder, or is no name.
    """
    place = Path(name)
    if place.is_absolute() or ".." in place.parts or "\0" in name or len(name) > _LONGEST_NAME:
        raise FolderError(f"{folder}: names the model {name[:80]!r}, which is no file of this folder; refused")
    return name


def describe(path: Path) -> Description:
    """Return the description of the decoder at `path`, a folder or an ONNX file.

    Raises:
        FolderError: there is no model, nothing describes it, or what does is damaged.
    """
    model = find_model(path)
    folder = model.parent
    readers = ((GENERATION_FILE, _from_generation), (GENAI_FILE, _from_genai), ("config.json", _from_config))
    for name, reader in readers:
        if (folder / name).is_file():
            try:
                return reader(model, _read(folder / name))
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                raise FolderError(f"{folder / name}: does not describe a language model: {_said(error)}") from error
    raise FolderError(
        f"{folder}: no {GENERATION_FILE}, {GENAI_FILE} or config.json beside {model.name}, so it is not known how to decode "
        "with it; export the model again with edgeopt export"
    )


def _said(error: Exception) -> str:
    return f"key {error} is missing" if isinstance(error, KeyError) else str(error)


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file at `path`; {} where there is no file."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise FolderError(f"{path}: is not JSON that describes a model: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise FolderError(f"{path}: must hold a JSON object")
    return values


def _genai_file(folder: Path) -> Any:
    model = _read(folder / GENAI_FILE).get("model")
    decoder = model.get("decoder") if isinstance(model, dict) else None
    return decoder.get("filename") if isinstance(decoder, dict) else None


def _from_generation(model: Path, values: Mapping[str, Any]) -> Description:
    inputs, outputs = values["inputs"], values["outputs"]
    return Description(
        model=model,
        form=str(values["form"]),
        layers=int(values["layers"]),
        kv_heads=int(values["kv_heads"]),
        head_size=int(values["head_size"]),
        context=int(values["context"]),
        vocabulary=int(values["vocabulary"]),
        cache_type=str(values["cache_type"]),
        shared_cache=bool(values["shared_cache"]),
        eos=_ids(values.get("eos")),
        bos=_ids(values.get("bos"))[0] if values.get("bos") is not None else None,
        suppressed=_ids(values.get("suppress")),
        names=Names(
            tokens=inputs["tokens"],
            mask=inputs.get("mask"),
            positions=inputs.get("positions"),
            asked=inputs.get("asked"),
            past_key=inputs["past_key"],
            past_value=inputs["past_value"],
            logits=outputs["logits"],
            present_key=outputs["present_key"],
            present_value=outputs["present_value"],
        ),
    )


def _from_genai(model: Path, values: Mapping[str, Any]) -> Description:
    facts, decoder = values["model"], values["model"]["decoder"]
    inputs, outputs = decoder["inputs"], decoder["outputs"]
    return Description(
        model=model,
        form="genai",
        layers=int(decoder["num_hidden_layers"]),
        kv_heads=int(decoder["num_key_value_heads"]),
        head_size=int(decoder["head_size"]),
        context=int(facts["context_length"]),
        vocabulary=int(facts["vocab_size"]),
        cache_type="float32",
        shared_cache=bool(values.get("search", {}).get("past_present_share_buffer", False)),
        eos=_ids(facts.get("eos_token_id")),
        bos=facts.get("bos_token_id"),
        suppressed=_ids(_read(model.parent / "generation_config.json").get("suppress_tokens")),
        names=Names(
            tokens=inputs["input_ids"],
            mask=inputs.get("attention_mask"),
            positions=inputs.get("position_ids"),
            past_key=inputs["past_key_names"],
            past_value=inputs["past_value_names"],
            logits=outputs["logits"],
            present_key=outputs["present_key_names"],
            present_value=outputs["present_value_names"],
        ),
    )


def _from_config(model: Path, config: Mapping[str, Any]) -> Description:
    def first(*keys: str, default: Any = None) -> Any:
        return next((config[key] for key in keys if config.get(key) is not None), default)

    heads = first("num_attention_heads", "n_head", "decoder_attention_heads", "num_heads")
    layers = first("num_hidden_layers", "n_layer", "decoder_layers", "num_layers")
    width = first("hidden_size", "n_embd", "d_model")
    if heads is None or layers is None or width is None:
        raise ValueError("it names no layers, heads or width")
    generation = _read(model.parent / "generation_config.json")
    eos = generation.get("eos_token_id", config.get("eos_token_id"))
    return Description(
        model=model,
        form="portable",
        layers=int(layers),
        kv_heads=int(first("num_key_value_heads", default=heads)),
        head_size=int(first("head_dim", "d_kv", default=int(width) // int(heads))),
        context=int(first("max_position_embeddings", "n_positions", "n_ctx", "max_target_positions", default=2**31 - 1)),
        vocabulary=first("vocab_size"),
        cache_type="float32",
        shared_cache=False,
        eos=_ids(eos),
        bos=config.get("bos_token_id"),
        suppressed=_ids(generation.get("suppress_tokens")),
    )


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(token) for token in value) if isinstance(value, list | tuple) else (int(value),)
