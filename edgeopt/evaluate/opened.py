"""Models of any kind, opened for evaluation: a transformers folder, a folder that edgeopt saved, or an ONNX file."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.data.model_folder import facts_of
from edgeopt.data.outputs import Runnable
from edgeopt.errors import DataError, ModelError
from edgeopt.graph import files
from edgeopt.graph.generation import FILE as GENERATION_FILE
from edgeopt.graph.generation import decoder_layers
from edgeopt.graph.provider import Provider
from edgeopt.graph.signature import Signature

if TYPE_CHECKING:
    from torch import nn

    from edgeopt.data.samples import Samples
    from edgeopt.tasks.task import Task

_TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_DECODER_INPUTS = ("input_ids", "attention_mask")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "model.json")


@dataclass(frozen=True)
class OpenedModel:
    """A model, and what its folder says of it.

    Attributes:
        name: shown to people.
        module: of PyTorch; None: it is an ONNX file.
        path: the ONNX file; None: it is of PyTorch.
        inputs: names of its inputs, as far as they are known.
        signature: of an ONNX file.
        folder: with tokenizer and processor files; None: there is none.
        names: of its classes by number; empty: not known.
        task: as its folder names it; None: not known.
    """

    name: str
    module: nn.Module | None
    path: Path | None
    inputs: tuple[str, ...]
    signature: Signature | None
    folder: Path | None
    names: tuple[str, ...] = ()
    task: str | None = None

    @property
    def tokenizer(self) -> Path | None:
        """Return the folder with its tokenizer.json; None: it has none."""
        return self.folder if self.folder is not None and (self.folder / "tokenizer.json").is_file() else None

    def runnable(self, samples: Samples, task: Task, provider: Provider) -> Runnable:
        """Return the model with samples in the form that it takes.

        Raises:
            DataError: the samples lack one of its inputs.
        """
        from edgeopt.evaluate.outputs import onnx_model, torch_model

        if self.path is not None:
            return onnx_model(self.path, samples, provider=provider, name=self.name)
        if self.module is None:
            raise ModelError(f"{self.name}: neither a module nor a file")
        return torch_model(self.module, task, samples, name=self.name)


def open_model(source: str, name: str, *, builder: str | None = None, task: str | None = None) -> OpenedModel:
    """Open the model at `source`.

    Args:
        source: an ONNX file, a folder with model.onnx alone, or anything that `edgeopt.load_model` takes.
        name: shown to people.
        builder: code that a saved folder may run.
        task: of a transformers model, with the hub's name; None: what its config says.

    Raises:
        ModelError: there is no model, or it cannot be opened.
    """
    path = Path(source)
    if path.suffix == ".onnx" or (path.is_dir() and (path / "model.onnx").is_file() and not _has_weights(path)):
        return _open_onnx(path if path.suffix == ".onnx" else path / "model.onnx", name)
    from edgeopt.models.load import AUTO_CLASSES, load_model

    loaded = load_model(source, source_builder=builder, task=task if task in AUTO_CLASSES else None)
    inputs = module_inputs(loaded.module)
    return OpenedModel(name, loaded.module, None, inputs, None, loaded.folder, loaded.labels, loaded.purpose)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _WEIGHTS)


def _open_onnx(path: Path, name: str) -> OpenedModel:
    if not path.is_file():
        raise ModelError(f"{path}: no such model; give an .onnx file, a model's folder or a hub id")
    model, facts = files.load(path), facts_of(path.parent)
    if decoder_layers(model.graph) and (path.parent / GENERATION_FILE).is_file():  # its cache is not of the samples
        return OpenedModel(name, None, path, _DECODER_INPUTS, None, path.parent, (), "text-generation")
    signature = files.signature(model)
    inputs = tuple(spec.name for spec in signature.inputs)
    return OpenedModel(name, None, path, inputs, signature, path.parent, facts.names, facts.task)


def module_inputs(module: nn.Module) -> tuple[str, ...]:
    """Return the names of a PyTorch model's inputs: those that must be given, and of a text model what a tokenizer feeds."""
    parameters = inspect.signature(module.forward).parameters
    main = getattr(module, "main_input_name", None)
    if isinstance(main, str) and hasattr(module, "config"):
        return tuple(name for name in _TEXT_INPUTS if name in parameters) if main == "input_ids" else (main,)
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    ]
    return tuple(needed) or tuple(list(parameters)[:1])


def named(sources: Sequence[str]) -> list[str]:
    """Return a short name for each source: the name of its file or folder, or the whole source where two share it.

    Raises:
        DataError: there is no model.
    """
    if not sources:
        raise DataError("there is no model to evaluate; give at least one")
    short = [Path(source).stem if source.endswith(".onnx") else Path(source).name or source for source in sources]
    plain = [
        Path(source).parent.name if name == "model" and Path(source).parent.name else name
        for source, name in zip(sources, short, strict=True)
    ]
    return [name if plain.count(name) == 1 else source for source, name in zip(sources, plain, strict=True)]
