"""Open what a command names: a folder, an ONNX file or a bundle with a language model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeopt.errors import EdgeoptError, ModelError, RecipeError
from edgeopt.extras import need
from edgeopt.generate.engine.description import describe
from edgeopt.generate.engine.encoder_decoder import EncoderDecoder, is_encoder_decoder
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import EngineError
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.faults import engine_errors

KIND = "llm"
"""The kind of a bundle with a language model, in its bundle.json."""


def open_engine(path: Path, *, threads: int | None = None, template: Path | None = None) -> Engine:
    """Return the engine of the language model at `path`.

    Args:
        path: a folder that edgeopt export, quantize or bundle wrote, or an ONNX file in one.
        threads: of onnxruntime; None: one per core.
        template: a file with a chat template, instead of the folder's.

    Raises:
        ModelError: it is not a language model that the engine runs.
        MachineError: a package is not installed.
    """
    need("tokenizers", purpose="generating text")
    need("jinja2", purpose="generating text")
    refuse_other_bundle(path)
    if is_encoder_decoder(path):
        raise ModelError(
            f"{path}: is an encoder-decoder, which answers one text or recording: use edgeopt generate or edgeopt serve"
        )
    with engine_errors():
        return Engine.open(path, threads=threads or os.cpu_count() or 1, template=template)


def open_encoder_decoder(path: Path, *, threads: int | None = None) -> EncoderDecoder:
    """Return the encoder-decoder in the folder `path`, with its two graphs in ``encoder`` and ``decoder``.

    Raises:
        ModelError: a graph or a file beside it is missing, or no encoder-decoder's.
        MachineError: a package is not installed.
    """
    need("tokenizers", purpose="generating text")
    with engine_errors():
        return EncoderDecoder(path, threads=threads or os.cpu_count() or 1)


def is_language_model(path: Path) -> bool:
    """Return whether there is a decoder with its cache at `path`, a folder or an ONNX file."""
    from edgeopt.graph import files

    try:
        described = describe(path)
        names = {value.name for value in files.signature(files.load(described.model)).inputs}
    except (EngineError, EdgeoptError):
        return False
    return described.names.past_key % 0 in names


def refuse_other_bundle(path: Path) -> None:
    """Raise an error if `path` is a bundle whose model is not a language model."""
    manifest = path / "bundle.json"
    if not manifest.is_file() or (path / "generation.json").is_file():
        return
    try:
        values = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{manifest}: cannot be read: {error}") from error
    task = values.get("task") if isinstance(values, Mapping) else None
    raise ModelError(
        f"{path}: is a bundle for {task or 'another task'}, not for text generation; see its README.md for how it runs"
    )


def read_sampling(values: Mapping[str, Any]) -> Sampling:
    """Return sampling options; an unknown or impossible one is an error with what is allowed.

    Raises:
        RecipeError: an option is unknown or has an impossible value.
    """
    stop = values.get("stop", ())
    texts = (stop,) if isinstance(stop, str) else stop
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise RecipeError(f"stop is {stop!r}: give a text, or a list of texts")
    with engine_errors():
        return Sampling.read({**values, "stop": tuple(texts)})
