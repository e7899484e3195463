"""Load a PyTorch model from any of its sources, without unpickling.

    a folder written by `save_model`     model.json + model.safetensors (pruned models, too)
    a transformers folder or hub id      config.json + model.safetensors
    module:callable                      any nn.Module the callable returns
    program.pt2                          a torch.export program, checked before torch reads it
    timm:NAME or a folder timm saved     where timm is installed

An untrusted model file must not run code: a folder's model.json may name one of the classes in `OWN_BUILDERS`, a transformers
model of another shape (`edgeopt.models.reshaped`), or the builder that the caller names as `source_builder` or named when the
folder was written (`remembered`); anything else is refused before it is imported. Code that comes with a hub model is refused
unless it is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from edgeopt.errors import EdgeoptError, ModelError, nearest
from edgeopt.models.kept import Kept, narrow
from edgeopt.models.pretrained import read_config, read_pretrained
from edgeopt.models.reshaped import BUILDER as RESHAPED
from edgeopt.models.reshaped import rebuild
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.models.timm_model import PREFIX, is_timm_folder, load_timm
from edgeopt.models.trusted_folders import is_remembered
from edgeopt.user_code import named

AUTO_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "sentence-similarity": "AutoModel",
    "feature-extraction": "AutoModel",
    "image-classification": "AutoModelForImageClassification",
    "image-feature-extraction": "AutoModel",
    "object-detection": "AutoModelForObjectDetection",
    "semantic-segmentation": "AutoModelForSemanticSegmentation",
    "depth-estimation": "AutoModelForDepthEstimation",
    "audio-classification": "AutoModelForAudioClassification",
    "automatic-speech-recognition": "AutoModelForSpeechSeq2Seq",
    "text-embedding": "AutoModel",
    "image-embedding": "AutoModel",
    "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
}
"""transformers' class for each task, by the hub's name of the task; halves of a task ("…/encoder") have the task's class."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_ANY_CLASSIFIER = "classification"
_HEADS_OF: Mapping[str, str] = {
    **dict.fromkeys(
        ("classification", "single-label-classification", "multi-label-classification", "multi-label", "regression"),
        _ANY_CLASSIFIER,
    ),
    **dict.fromkeys(("sequence-classification", "zero-shot-classification"), "text-classification"),
    **dict.fromkeys(("ctc", "audio-ctc", "speech2seq", "speech2seq-lm"), "automatic-speech-recognition"),
    **dict.fromkeys(("seq2seq-lm", "translation", "summarization"), "text2text-generation"),
    **dict.fromkeys(("causal-lm", "language-model"), "text-generation"),
    **dict.fromkeys(("segmentation", "image-segmentation"), "semantic-segmentation"),
    "ner": "token-classification",
    "extractive-question-answering": "question-answering",
    "text-similarity": _ANY_CLASSIFIER,
    "sentence-embeddings": "feature-extraction",
    "detection": "object-detection",
}
"""The head that a task of `edgeopt.tasks` needs where its name is none of the hub's."""

MODEL_FILE = "model.json"
OWN_BUILDERS: Mapping[str, type[nn.Module]] = {"edgeopt.models.residual_cnn:ResidualCNN": ResidualCNN}
"""The classes that any model.json may name; each checks its arguments and only creates layers."""


@dataclass(frozen=True)
class Origin:
    """How a model that transformers does not know is rebuilt: builder, arguments, and kept channels."""

    builder: str
    arguments: Mapping[str, Any]
    kept: Kept = field(default_factory=dict)
    task: str | None = None
    labels: tuple[str, ...] = ()


class _Record(BaseModel):
    """Content of a model.json; see `save_model`."""

    model_config = ConfigDict(frozen=True, strict=True)

    builder: str
    arguments: dict[str, Any]
    kept: Kept
    task: str | None = None
    labels: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode.

    Attributes:
        module: called with inputs by name.
        task: its task, with the hub's name, or None.
        folder: folder it was read from, with tokenizer and config; None for module:callable.
        labels: class names in the order of their indices; empty if unknown.
        origin: how it is rebuilt; None for transformers models, which have a config.json.
    """

    module: nn.Module
    task: str | None
    folder: Path | None
    labels: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def purpose(self) -> str | None:
        """Its task as `edgeopt.tasks` has it: the hub has one name for two kinds of speech recognition."""
        writes = getattr(getattr(self.module, "config", None), "is_encoder_decoder", False)
        return "speech2seq" if writes and self.task == "automatic-speech-recognition" else self.task


def load_model(
    source: str | Path,
    *,
    task: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    source_builder: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Return the model at `source`.

    Args:
        source: a folder, a hub id, a ``.pt2`` program, ``timm:NAME``, or ``module:callable``.
        task: for transformers models; None: the head its config names.
        arguments: for ``module:callable``.
        source_builder: a builder that a saved folder may name, besides edgeopt's own.
        trust_remote_code: allow code from a hub model to run.

    Raises:
        ModelError: there is no model, its weights do not fit, it lacks the head, or its code is not allowed.
    """
    folder = Path(source)
    if (folder / MODEL_FILE).is_file():
        return _load_saved(folder, source_builder)
    if folder.suffix == ".pt2":
        return _load_program(folder)
    if str(source).startswith(PREFIX) or is_timm_folder(folder):
        return LoadedModel(load_timm(str(source)), task or "image-classification", folder if folder.is_dir() else None)
    if (folder / "config.json").is_file() or (not folder.exists() and _HUB_ID.fullmatch(str(source)) and not folder.suffix):
        return _load_transformers(str(source), task, trust_remote_code)
    if ":" in str(source):
        origin = Origin(str(source), arguments or {}, task=task)
        return LoadedModel(build(str(source), origin.arguments).eval(), task, None, origin=origin)
    raise ModelError(
        f"{source}: no model here; give a folder with {MODEL_FILE} or config.json, a .pt2 program, a hub id, or module:callable"
    )


def build(builder: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the module that ``module:callable`` returns for `arguments`.

    Raises:
        ModelError: it cannot be imported or called, or does not return an nn.Module.
    """
    try:
        with named(builder, stay=True) as make:
            module = make(**arguments)
    except ModuleNotFoundError as error:
        where = "modules are searched among the installed packages and in the current folder"
        raise ModelError(f"{builder}: cannot be built: {error}; {where}") from error
    except EdgeoptError:
        raise
    except Exception as error:  # (what the user named may raise anything)
        kind = "" if isinstance(error, ImportError | AttributeError | TypeError | ValueError) else f"{type(error).__name__}: "
        raise ModelError(f"{builder}: cannot be built with {dict(arguments)}: {kind}{error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{builder}: returns {type(module).__name__}, not an nn.Module")
    return module


def _load_program(path: Path) -> LoadedModel:
    from edgeopt.models.exported_program import load_program

    if not path.is_file():
        raise ModelError(f"{path}: no such program")
    return LoadedModel(load_program(path), None, None)


def _load_saved(folder: Path, source_builder: str | None) -> LoadedModel:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        record = _Record.model_validate_json((folder / MODEL_FILE).read_bytes())
        weights = load_file(folder / "model.safetensors")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{folder}: {MODEL_FILE} cannot be read: {place}: {first['msg']}") from error
    except (ValueError, OSError, SafetensorError) as error:
        raise ModelError(f"{folder}: {MODEL_FILE} and model.safetensors cannot be read: {error}") from error
    origin = Origin(record.builder, record.arguments, record.kept, record.task, tuple(record.labels))
    if record.builder == RESHAPED:
        return LoadedModel(_reshaped(record, weights, folder), origin.task, folder, origin.labels, origin)
    own = OWN_BUILDERS.get(record.builder)
    if own is not None:
        module = _empty(own, record, folder)
    elif record.builder == source_builder or is_remembered(folder, folder / MODEL_FILE, record.builder):
        module = build(record.builder, record.arguments)
    else:
        raise ModelError(
            f"{folder}: names the builder '{record.builder}' and was not written here by you; if you trust it, "
            f"name it: --builder {record.builder} (source_builder=…)"
        )
    narrow(module, record.kept)
    if own is not None and any(tensor.is_complex() for tensor in weights.values()):
        raise ModelError(f"{folder}: its weights do not fit {record.builder}: it has no complex numbers")
    try:
        module.load_state_dict(weights, assign=own is not None)
    except RuntimeError as error:
        said = str(error).splitlines()[-1].strip()
        raise ModelError(f"{folder}: its weights do not fit {record.builder}: {said}") from error
    if own is not None:
        module.float()
    return LoadedModel(module.eval(), origin.task, folder, origin.labels, origin)


def _reshaped(record: _Record, weights: Mapping[str, torch.Tensor], folder: Path) -> nn.Module:
    """Return a pruned transformers model; `edgeopt.models.reshaped` checks what the file says."""
    try:
        return rebuild(record.arguments, record.kept, weights)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error


def _empty(own: type[nn.Module], record: _Record, folder: Path) -> nn.Module:
    """Return one of edgeopt's modules without weights, so that a file cannot request more memory than its weights take."""
    try:
        with torch.device("meta"):
            return own(**record.arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        said = str(error).splitlines()[0]
        raise ModelError(f"{folder}: {record.builder} cannot be built with {record.arguments}: {said}") from error


def _load_transformers(source: str, task: str | None, trust_remote_code: bool) -> LoadedModel:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    whole = task.partition("/")[0] if task and ":" not in task else None  # (of a user's own task the config says the head)
    if whole is not None and whole not in {*AUTO_CLASSES, *_HEADS_OF}:
        raise ModelError(f"task '{task}' is not known{nearest(whole, AUTO_CLASSES)}; known: {', '.join(AUTO_CLASSES)}")
    config = read_config(source, trust_remote_code=trust_remote_code)
    head = _task_of(config) if whole is None else whole if whole in AUTO_CLASSES else _head_for(whole, _task_of(config))
    auto = getattr(transformers, _auto_class(config, head))
    module, info = read_pretrained(auto, source, config=config, trust_remote_code=trust_remote_code)
    for name, found, wanted in sorted(info["mismatched_keys"])[:1]:
        raise ModelError(
            f"{source}: the weight {name} has shape {list(found)}, but its config.json makes it {list(wanted)}; "
            f"it would be random: repair the config or choose the checkpoint it belongs to"
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{source}: has no weights for {missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}; "
            f"they would be random: choose a task this checkpoint was trained for"
        )
    names = getattr(config, "id2label", None) or {}
    folder = Path(source) if Path(source).is_dir() else None
    known = task if whole in AUTO_CLASSES and task is not None else head  # ("…/encoder" stays)
    return LoadedModel(module.eval(), known, folder, tuple(str(names[index]) for index in sorted(names)))


def head_of(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Return the task and the class names that the config.json of a transformers folder states, without its weights.

    Raises:
        ModelError: it cannot be read.
    """
    config = read_config(str(folder))
    names = getattr(config, "id2label", None) or {}
    return _task_of(config), tuple(str(names[index]) for index in sorted(names))


_TASK_OF_ENDING = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "WhisperForConditionalGeneration": "automatic-speech-recognition",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "text2text-generation",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "semantic-segmentation",
    "ForDepthEstimation": "depth-estimation",
    "ForCTC": "automatic-speech-recognition",
    "ForAudioClassification": "audio-classification",
}
"""Task of an architecture by the ending of its name; the first match counts."""


def _architecture(config: Any) -> str:
    found = getattr(config, "architectures", None)
    return str(found[0]) if isinstance(found, list | tuple) and found else ""


def _task_of(config: Any) -> str:
    """Return the task of the head in the config's architecture."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES

    name = _architecture(config)
    if name in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES.values():  # (of a sequence of sound, as they are called)
        return "audio-classification"
    return next((task for ending, task in _TASK_OF_ENDING.items() if name.endswith(ending)), "feature-extraction")


def _head_for(task: str, own: str) -> str:
    """Return the hub's name of the head for a task of `edgeopt.tasks`; a classifier keeps the kind of input that it has."""
    wanted = _HEADS_OF[task]
    if wanted != _ANY_CLASSIFIER:
        return wanted
    return own if own in {"text-classification", "image-classification", "audio-classification"} else "text-classification"


def _auto_class(config: Any, task: str) -> str:
    """Return transformers' class for `task`; speech recognition has two kinds of models."""
    if task == "automatic-speech-recognition" and _architecture(config).endswith("ForCTC"):
        return "AutoModelForCTC"
    return AUTO_CLASSES[task]
