"""Load timm's vision models where timm is installed: ``timm:NAME`` with its pretrained weights, or a folder timm saved.

A folder is written by timm for the hub: config.json with architecture and training settings, and model.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeopt.batches import Batch
from edgeopt.errors import MachineError, ModelError, nearest
from edgeopt.models.no_pickles import no_pickles

PREFIX = "timm:"
_NOT_OF_A_FILE = frozenset(
    {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "model_name"}
)
"""Arguments of timm's factory that name the source of weights, which for a folder are in it."""


class TimmModel(torch.nn.Module):
    """A timm model with the input ``pixel_values`` and the output ``logits``, or ``features`` if it has no classes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._output = "logits" if getattr(model, "num_classes", 0) else "features"
        self._shape = tuple(int(size) for size in model.pretrained_cfg.get("input_size") or (3, 224, 224))

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the scores or features of images [batch, channels, height, width]."""
        return {self._output: self.model(pixel_values)}

    def example_inputs(self) -> list[Batch]:
        """Return random images of the size that the model was trained with."""
        rng = np.random.default_rng(0)
        return [{"pixel_values": rng.normal(size=(rows, *self._shape)).astype(np.float32)} for rows in (2, 1, 3)]


def is_timm_folder(folder: Path) -> bool:
    """Return whether `folder` contains a model that timm saved."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "architecture" in found and "model_type" not in found


def load_timm(source: str) -> TimmModel:
    """Return the timm model called ``timm:NAME`` (with timm's weights) or saved in the folder `source`.

    Raises:
        MachineError: timm is not installed.
        ModelError: timm has no such model, or its weights are unavailable or do not fit.
    """
    try:
        import timm  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, RuntimeError) as error:
        raise MachineError(f"{source}: needs timm, which cannot be imported here ({error}); pip install timm") from error
    if source.startswith(PREFIX):
        name = source.removeprefix(PREFIX)
        model = _created(timm, source, name, pretrained=True)
    else:
        model = _from_folder(timm, Path(source))
    return TimmModel(model.eval())


def _created(timm: Any, source: str, name: str, **options: Any) -> Any:
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise ModelError(
            f"{source}: timm has no model '{name}'{nearest(name, known)}; timm.list_models() lists all {len(known)}"
        )
    try:
        with no_pickles():
            return timm.create_model(name, **options)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{source}: timm cannot create it: {str(error).splitlines()[0][:300]}") from error


def _from_folder(timm: Any, folder: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: Mapping[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    arguments, trained = (found.get(key) or {} for key in ("model_args", "pretrained_cfg"))
    if not isinstance(arguments, dict) or not isinstance(trained, dict):
        raise ModelError(f"{folder}: in its config.json 'model_args' and 'pretrained_cfg' must be objects; save it again")
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"{folder}: has no model.safetensors (pickled weights are not read)")
    options = {key: value for key, value in arguments.items() if key not in _NOT_OF_A_FILE}
    for key in ("num_classes", "global_pool"):
        if found.get(key) is not None:
            options[key] = found[key]
    settings = {key: value for key, value in trained.items() if key in {"input_size", "fixed_input_size"}}
    model = _created(
        timm, str(folder), str(found["architecture"]), pretrained=False, pretrained_cfg_overlay=settings, **options
    )
    try:
        model.load_state_dict(load_file(weights), strict=True)
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder}: the weights do not fit {found['architecture']}: {reason}") from error
    return model
