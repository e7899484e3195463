"""PyTorch and ONNX models as things that take batches and give outputs by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.data.fit import fit, floats_as
from edgeopt.data.outputs import Outputs, Runnable, collect
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError, ModelError
from edgeopt.graph import files
from edgeopt.graph.cached_decoder import CachedDecoder
from edgeopt.graph.generation import FILE as GENERATION_FILE
from edgeopt.graph.generation import Generation, decoder_layers
from edgeopt.graph.outputs import reason
from edgeopt.graph.provider import Provider
from edgeopt.graph.session import open_session
from edgeopt.graph.signature import Signature

if TYPE_CHECKING:
    from torch import nn

    from edgeopt.tasks.task import Task

_BATCH = 32


def torch_outputs(run: Callable[[Batch], Array], samples: Samples, *, name: str) -> Outputs:
    """Return the logits that `run` gives for each sample, under the name ``logits``."""
    return collect(lambda batch: {"logits": run(batch)}, samples, batch_size=_BATCH, name=name)


def onnx_outputs(path: Path, samples: Samples, *, provider: Provider, name: str) -> Outputs:
    """Return all outputs of the ONNX model at `path` for each sample, in batches that its batch axis accepts."""
    model = onnx_model(path, samples, provider=provider, name=name)
    return collect(model.run, model.samples, batch_size=model.batch_size, name=name)


def torch_model(module: nn.Module, task: Task, samples: Samples, *, name: str) -> Runnable:
    """Return a PyTorch model, in evaluation mode, with the outputs that its task knows."""
    import torch

    from edgeopt.models.call import cannot_take, float_type, to_tensors

    module.eval()
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))

    samples = floats_as(samples, float_type(module))

    def run(batch: Batch) -> Outputs:
        try:
            with torch.inference_mode():
                outputs = task.predict(module, to_tensors(batch, device))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise cannot_take(error, batch, f"model {name}") from error
        return {name: np.asarray(value.detach().float().cpu().numpy()) for name, value in outputs.items()}

    return Runnable(name, run, samples, _BATCH)


def onnx_model(path: Path, samples: Samples, *, provider: Provider, name: str) -> Runnable:
    """Return the ONNX model at `path`, opened, with the samples in the form that it takes.

    Raises:
        DataError: the samples lack one of its inputs.
        ModelError: it cannot be opened.
    """
    model = files.load(path)
    if decoder_layers(model.graph) and (path.parent / GENERATION_FILE).is_file():
        return _decoder(path, samples, provider=provider, name=name)
    signature = files.signature(model)
    samples, inputs = fit(samples, signature), signature.inputs
    _check_types(samples, signature, name=name)
    layout = samples.layout
    free = layout is None or (layout.size is None and all(axis == 0 for axis in layout.axes.values()))
    session = open_session(path, provider)
    names = [spec.name for spec in signature.outputs if spec.is_array]
    if not names:
        raise ModelError(f"{path}: none of its outputs is an array of numbers, so there is nothing to compare")

    def run(batch: Batch) -> Outputs:
        try:
            values = session.run(names, {spec.name: batch[spec.name] for spec in inputs})
        except Exception as error:  # (onnxruntime's exception classes share no base but Exception)
            raise DataError(f"{name}: cannot run on the samples: {reason(error)}") from error
        return dict(zip(names, values, strict=True))

    return Runnable(name, run, samples, _BATCH if free else (layout.size if layout is not None and layout.size else 1))


def _check_types(samples: Samples, signature: Signature, *, name: str) -> None:
    """Raise an error where the samples lack an input or have it in another type; whether texts are right, a run shows."""
    if not len(samples):
        return
    first = samples[0]
    for spec in signature.inputs:
        if spec.name not in first:
            raise DataError(f"{name}: input '{spec.name}' is missing; the samples have: {', '.join(first)}")
        kind = first[spec.name].dtype.name
        if spec.dtype not in (kind, "object"):
            raise DataError(f"{name}: input '{spec.name}': dtype is {kind}, the model takes {spec.dtype}; convert the samples")


def _decoder(path: Path, samples: Samples, *, provider: Provider, name: str) -> Runnable:
    """Return a decoder that reads each text as a whole, with an empty cache, and gives the logits of all its positions."""
    facts, session = Generation.beside(path), open_session(path, provider)
    if not len(samples) or "input_ids" not in samples[0]:
        raise DataError(f"{path}: a language model reads texts: give a .txt file, or samples with input_ids")

    def run(batch: Batch) -> Outputs:
        tokens = np.asarray(batch["input_ids"], np.int64)
        return {"logits": CachedDecoder(session, facts, tokens.shape[1], rows=len(tokens)).read_rows(tokens)}

    return Runnable(name, run, samples, 1)
