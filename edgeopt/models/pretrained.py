"""transformers folders and hub ids: their configuration and weights, read so that no file in them runs code.

transformers follows what a folder's files name: an index may list shards that are pickles or that lie elsewhere, an adapter
names the model that it belongs to, a configuration names kernels of the hub. Here the folder is checked before transformers
reads it, and what transformers raises, whatever its class, is one error of ours.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from torch import nn

from edgeopt.documents import read_json
from edgeopt.errors import EdgeoptError, ModelError
from edgeopt.models.no_pickles import no_pickles

_INDEX, _ADAPTER = "model.safetensors.index.json", "adapter_config.json"
_MOST_LAYERS = 1000
"""Layers that a configuration may always ask for; beyond that, no more than the weights have tensors."""
_MOST_LABELS = 1_000_000
_MOST_TIMES, _MOST_BYTES = 100, 2**28
"""A model may take this many times the bytes of the weights in its files, and some more."""


def read_config(source: str, *, trust_remote_code: bool = False, **changes: Any) -> Any:
    """Return the configuration of a transformers folder or hub id, with `changes` to its values.

    Raises:
        ModelError: there is none, or it names code that is not allowed.
    """
    import transformers

    _check_folder(Path(source))
    with _refused(source, trust_remote_code=trust_remote_code):
        if not trust_remote_code:
            _check_kernels(source, transformers.PretrainedConfig.get_config_dict(source)[0])
        return transformers.AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code, **changes)


def read_pretrained(
    auto: Any, source: str, *, trust_remote_code: bool = False, **options: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the module that transformers' class `auto` loads in float32, and what it says of missing and unfit weights.

    Call `read_config` first: it checks the folder.

    Raises:
        ModelError: transformers cannot load it.
    """
    import torch

    with _refused(source, trust_remote_code=trust_remote_code), no_pickles():
        if Path(source).is_dir() and not trust_remote_code:
            with torch.device("meta"):
                bare = auto.from_config(copy.deepcopy(options["config"]))
            try:
                check_size(bare, sum(_weight_sizes(Path(source))))
            except ModelError as error:
                raise ModelError(f"{source}: {error}") from error
        module, info = auto.from_pretrained(
            source,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported by the caller, by name
            **options,
        )
    return module, info


@contextmanager
def _refused(source: str, *, trust_remote_code: bool) -> Iterator[None]:
    """Turn what transformers raises in the block into one line."""
    try:
        yield
    except EdgeoptError:
        raise
    except Exception as error:  # (a damaged folder raises nearly any class: of Python, of safetensors, of pydantic's kind)
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise _names_code(source, "the model contains Python code") from error
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"{source}: transformers cannot load it: {said}") from error


def _names_code(source: str, what: str) -> ModelError:
    return ModelError(
        f"{source}: {what}, which is not run unless you allow it; "
        f"read it, then pass --trust-remote-code (trust_remote_code=True)"
    )


def _check_folder(folder: Path) -> None:
    """Refuse a folder whose files lead out of it, or to pickles, or whose configuration asks for far more than its weights."""
    if not folder.is_dir():
        return
    if (folder / _ADAPTER).is_file():
        raise ModelError(
            f"{folder}: holds an adapter of another model ({_ADAPTER}); "
            f"merge the two (peft: merge_and_unload) and save the result"
        )
    config = read_json(folder / "config.json", error=ModelError, what="a model's configuration")
    try:
        check_layers(config, len(_weight_sizes(folder)))
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error


def _weight_sizes(folder: Path) -> list[int]:
    """Return how many elements each tensor in the folder's weight files has."""
    shards = _shards(folder) if (folder / _INDEX).is_file() else {"model.safetensors"}
    return [size for name in sorted(shards) if (folder / name).is_file() for size in _sizes_in(folder / name)]


def _shards(folder: Path) -> set[str]:
    """Return the names of the weight files that the folder's index lists."""
    index = read_json(folder / _INDEX, error=ModelError, what="an index of weights")
    listed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise ModelError(f"{folder}: {_INDEX} does not say which file holds which weight; save the model again")
    for name in sorted(set(listed.values())):
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise ModelError(f"{folder}: {_INDEX} names '{name}', which is no .safetensors file of this folder; refused")
    return set(listed.values())


def _sizes_in(path: Path) -> list[int]:
    """Return how many elements each tensor of a .safetensors file has.

    Raises:
        ModelError: it is damaged, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as weights:
            return [prod(weights.get_slice(name).get_shape()) for name in weights.keys()]  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged, or no .safetensors file: {error}; copy it again") from error


def check_layers(config: Any, tensors: int) -> None:
    """Refuse counts of layers and classes in a configuration that no weights are for: building them would take forever.

    Args:
        config: as JSON has it.
        tensors: how many the model's files hold.

    Raises:
        ModelError: naming the count.
    """
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        check_layers(value, tensors)
        most = max(_MOST_LAYERS, tensors) if "layers" in str(key) else _MOST_LABELS if key == "num_labels" else None
        if most is not None and isinstance(value, int) and value > most:
            what = "classes" if key == "num_labels" else "layers"
            raise ModelError(f"its config.json asks for {value:,} {what} ({key}), its weights have {tensors:,} tensors")


def check_size(bare: nn.Module, there: int) -> None:
    """Refuse a model, built without memory, that takes far more of it than the `there` elements of its weights.

    Raises:
        ModelError: it does; the message says both.
    """
    wanted = sum(tensor.numel() * tensor.element_size() for tensor in [*bare.parameters(), *bare.buffers()])
    if wanted > _MOST_TIMES * 4 * there + _MOST_BYTES:
        raise ModelError(f"its configuration asks for {wanted / 1e6:,.0f} MB, its weights have {4 * there / 1e6:,.0f} MB")


def _check_kernels(source: str, config: Any, *, names_code: bool = False) -> None:
    """Refuse a config that makes transformers download kernels of attention or experts, which are code, from the hub."""
    if isinstance(config, dict):
        for key, value in config.items():
            _check_kernels(source, value, names_code=names_code or "implementation" in str(key))
    elif names_code and isinstance(config, str) and "/" in config:
        raise _names_code(source, f"its config.json names code of the hub ('{config}')")
