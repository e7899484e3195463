"""A decoder's onnxruntime session, and the check that its inputs are those of its description."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from .description import Description
from .errors import FolderError, RunError
from .memory import return_memory

_QUIET = 4
_CACHE_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def open_session(path: Any, *, threads: int = 1) -> ort.InferenceSession:
    """Return a session on the CPU.

    Raises:
        FolderError: onnxruntime does not load the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's error classes have no public common base
        raise FolderError(f"{path}: onnxruntime {ort.__version__} does not load it: {_said(error)}") from error
    return_memory(Path(path).parent)
    return session


@contextmanager
def running(model: Path) -> Iterator[None]:
    """Name `model` in what onnxruntime raises in the block.

    Raises:
        RunError: the graph fails.
    """
    try:
        yield
    except Exception as error:  # (as above)
        raise RunError(f"{model}: fails while onnxruntime {ort.__version__} runs it: {_said(error)}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def check_inputs(session: ort.InferenceSession, described: Description, *, given: Collection[str] = ()) -> Description:
    """Return the description with the optional inputs that the graph really has, and its cache's type and size.

    `given` are inputs that come from an encoder.

    Raises:
        FolderError: the graph lacks an input or an output that the description names, or needs another input.
    """
    inputs = {value.name: value for value in session.get_inputs()}
    optional = {value.name for value in session.get_overridable_initializers()}
    outputs = {value.name: value for value in session.get_outputs()}
    names = described.names
    if names.tokens not in inputs and "decoder_input_ids" in inputs:
        names = replace(names, tokens="decoder_input_ids")
    names = replace(
        names,
        mask=names.mask if names.mask in inputs else None,
        positions=names.positions if names.positions in inputs else None,
        asked=names.asked if names.asked in inputs or names.asked in optional else None,
    )
    for layer in range(described.layers):
        wanted = (names.past_key % layer, names.past_value % layer)
        made = (names.present_key % layer, names.present_value % layer)
        missing = [name for name in wanted if name not in inputs] + [name for name in made if name not in outputs]
        if missing:
            raise FolderError(
                f"{described.model}: has no '{missing[0]}', so it is not a decoder with a cache of {described.layers} layers; "
                "export the model again with edgeopt export"
            )
    for name, side in ((names.tokens, inputs), (names.logits, outputs)):
        if name not in side:
            raise FolderError(f"{described.model}: has no '{name}', so it is not a decoder")
    cache = {name % layer for layer in range(described.layers) for name in (names.past_key, names.past_value)}
    more = inputs.keys() - cache - {names.tokens, names.mask, names.positions, names.asked, *given}
    if more:
        raise FolderError(
            f"{described.model}: needs the input '{min(more)}', which a decoder alone is not given; of an encoder-decoder give "
            "the folder that holds both halves, encoder and decoder, of one model"
        )
    past = inputs.get(names.past_key % 0)
    if past is None or past.type not in _CACHE_TYPES or len(past.shape) != 4:
        found = "no cache" if past is None else f"a cache of {past.type} with {len(past.shape)} axes"
        raise FolderError(f"{described.model}: has {found}; a cache of float or float16 with 4 axes is decoded with here")
    heads, size = past.shape[1], past.shape[3]
    return replace(
        described,
        names=names,
        cache_type=_CACHE_TYPES[past.type],
        kv_heads=heads if isinstance(heads, int) else described.kv_heads,
        head_size=size if isinstance(size, int) else described.head_size,
    )
