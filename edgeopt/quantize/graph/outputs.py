"""Inner tensors as outputs of a model, so that one can look at them.

Before: x → A → t → B → y          outputs: y
After:  x → A → t → B → y          outputs: y, t
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx
import onnxruntime as ort

from edgeopt.models import onnx_file
from edgeopt.targets.session import SessionConfig, open_session

_TWO_GIB = 2**31 - 1


def expose(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """Return a model whose outputs are those of `model` and then the `tensors` that were not outputs yet."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {value.name for value in model.graph.output}
    types = {value.name: value for value in model.graph.value_info}
    for name in tensors:
        if name not in known:
            exposed.graph.output.append(types.get(name) or onnx.ValueInfoProto(name=name))
            known.add(name)
    return exposed


def open_exposed(model: onnx.ModelProto, *, threads: int, optimize: bool = True) -> ort.InferenceSession:
    """Open a session on a model in memory; one beyond protobuf's 2 GiB takes the way over a temporary folder."""
    config = SessionConfig(threads=threads, optimization="all" if optimize else "none")
    if model.ByteSize() < _TWO_GIB:
        return open_session(model.SerializeToString(), config=config)
    with tempfile.TemporaryDirectory(prefix="edgeopt-") as folder:
        path = Path(folder) / "model.onnx"
        onnx_file.save(model, path, external=True)
        return open_session(path, config=config)
