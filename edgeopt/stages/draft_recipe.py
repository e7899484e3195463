"""Write a recipe for a model and its data: what was found out stands in it, with a comment on each choice.

The recipe is read back before it is written, so that it names no unknown key; `edgeopt run` takes it as it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import tomli_w

from edgeopt.data.labels import check_names
from edgeopt.data.npz import write_npz
from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.random_inputs import random_batches
from edgeopt.data.readers import preprocessing_file
from edgeopt.data.source import is_set, needs_steps, open_source, options_of
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError, RecipeError
from edgeopt.escaping import printable
from edgeopt.evaluate.assumed import assumed_steps
from edgeopt.evaluate.opened import OpenedModel, named, open_model
from edgeopt.files import disk_errors, write_aside
from edgeopt.graph.provider import Provider
from edgeopt.stages.torch_model import refuse_two_graphs
from edgeopt.tasks.language_model import LanguageModel
from edgeopt.tasks.registry import find_task, reading_name, task_for
from edgeopt.tasks.single_label import SingleLabel

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.tasks.task import Task
    from edgeopt.train.head import Head

_RANDOM = 32  # samples, where no real ones are given
_PROMPT = 128  # tokens
_FEW = 200  # samples that are too few to be split
_IMAGENET = {"mean": [123.675, 116.28, 103.53], "scale": [58.395, 57.12, 57.375]}
"""What most classifiers of photographs are trained with, as values of 0…255."""


@dataclass(frozen=True)
class Draft:
    """A recipe as text, and what a reader of it should know."""

    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Look:
    """What was found out: the model, where its samples come from, what they are, and what they are for."""

    source: str
    model: OpenedModel
    data: str
    real: bool
    samples: Samples
    task: Task
    task_name: str | None
    steps: ImageInput | None = None
    """How images become inputs, where neither the source nor the model's folder says it: assumed."""
    head: Head | None = None
    """The head that the model lacks for the labels; None: it has one."""


def draft_recipe(
    source: str, data: str | None, output: Path, *, task: str | None = None, tokenizer: Path | None = None
) -> Draft:
    """Look at a model and at its data, and write a commented recipe to `output`.

    Args:
        source: a transformers folder, a folder that edgeopt saved, module:callable, or an ONNX file.
        data: a source of samples; None: random inputs of the model's shapes, written beside the recipe.
        output: the .toml file.
        task: what the model is for; None: what its folder or the labels say.
        tokenizer: folder with tokenizer.json, for an ONNX file that has none beside it.

    Raises:
        DataError: the samples cannot be read for this model.
        ModelError: the model cannot be opened.
        RecipeError: `output` exists or is no .toml file.
    """
    from edgeopt.recipe import Recipe

    if output.suffix != ".toml":
        raise RecipeError(f"{output}: the recipe's name must end in .toml")
    if output.exists():
        raise RecipeError(f"{output}: exists; remove it or name another file")
    (name,) = named([source])
    model = open_model(source, name)
    place = data or str(_random_samples(model, source, output))
    look = _looked(source, model, place, task, real=data is not None, tokenizer=tokenizer)
    notes = tuple(_notes(look))
    text = "\n".join([*_head(look), *_data_lines(look), *_model_lines(look), *_stage_lines(look), ""])
    Recipe.read({"name": output.stem, **tomllib.loads(text)}, where=str(output))
    with write_aside(output) as aside:
        aside.write_text(text, encoding="utf-8")
    return Draft(text, notes)


def _looked(source: str, model: OpenedModel, place: str, task: str | None, *, real: bool, tokenizer: Path | None) -> _Look:
    asked = find_task(task) if task else None
    name = task or model.task
    steps = _assumed(model, place)
    tokens = tokenizer or model.tokenizer
    reader = Reader(model.inputs, tokens, model.signature, model.folder, model.names, reading_name(name), steps)
    head = _missing_head(source, place, reader, task)
    if head is not None:
        place, reader = _with_head(place, reader, head), replace(reader, names=head.names, task=reading_name(task or head.task))
        model = replace(model, names=head.names, task=head.task)
    refuse_two_graphs(model.task, source)
    samples = open_source(place, reader, split="calibration")
    found = asked or task_for(samples, model.task)
    _check_classes(model, samples, found, place)
    known = found.name if found.name != "generic" else None
    return _Look(source, model, place, real, samples, found, _hub_name(task, model, known), steps, head)


def _check_classes(model: OpenedModel, samples: Samples, task: Task, place: str) -> None:
    """Refuse data whose names of classes are not as many as a file's only output has values."""
    shapes = [tensor.shape for tensor in model.signature.outputs] if model.signature is not None else []
    if isinstance(task, SingleLabel) and len(shapes) == 1 and shapes[0] and isinstance(shapes[0][-1], int):
        check_names(samples.names, shapes[0][-1], where=place)


def _missing_head(source: str, place: str, reader: Reader, task: str | None) -> Head | None:
    """Return the head that a transformers folder lacks for the labels at `place`; None: it has one, or there are no labels."""
    folder = Path(source)
    if not (folder / "config.json").is_file() or (folder / "model.json").is_file() or is_set(place):
        return None
    from edgeopt.models.load import head_of
    from edgeopt.train.head import missing_head, reading_task

    own, names = head_of(folder)
    asked = reading_name(reading_task(task, own))
    samples = open_source(place, replace(reader, names=(), task=asked))
    found = find_task(task) if task else task_for(samples, reading_task(None, own))
    return missing_head(samples, task, own, names) if found.is_labelled(samples) else None


def _with_head(place: str, reader: Reader, head: Head) -> str:
    """Return a source that states what the model's folder said of it: a new head has no folder."""
    options, known = options_of(place), {}
    if reader.tokenizer is not None and options.tokenizer is None:
        known["tokenizer"] = str(reader.tokenizer)
    steps = preprocessing_file(reader.folder)
    if steps is not None and options.preprocessing is None and needs_steps(place):
        known["preprocessing"] = str(steps)
    if head.names and options.classes is None and not any("," in name for name in head.names):
        known["classes"] = ",".join(head.names)
    added = "&".join(f"{key}={quote(value, safe='/,:')}" for key, value in known.items())
    return f"{place}{'&' if '?' in place else '?'}{added}" if added else place


def _assumed(model: OpenedModel, place: str) -> ImageInput | None:
    """Return how images become the input of an ONNX file; None: there are none, it is stated, or the file's sizes are open."""
    if model.path is None or model.signature is None or not needs_steps(place):
        return None
    if options_of(place).preprocessing is not None or preprocessing_file(model.folder) is not None:
        return None
    known = assumed_steps(model.path, model.signature, Provider(name="CPUExecutionProvider"))
    if known is not None:
        return known
    shapes = {item.name: item.shape for item in model.signature.inputs if len(item.shape) == 4 and item.shape[1] == 3}
    for name, (_, _, height, width) in shapes.items():
        if isinstance(height, int) and isinstance(width, int):
            return ImageInput.read({"input": name, "width": width, "height": height, **_IMAGENET}, where=str(model.path))
    return None


def _hub_name(task: str | None, model: OpenedModel, known: str | None) -> str | None:
    """Return the task's name for the recipe: as it was asked for, else as the model's folder has it where it means the same."""
    if task:
        return task
    if model.task and known and _same_task(model.task, known):
        return model.task
    return known


def _same_task(one: str, other: str) -> bool:
    try:
        return find_task(one).name == find_task(other).name
    except RecipeError:
        return False


def _random_samples(model: OpenedModel, source: str, output: Path) -> Path:
    """Write random inputs of an ONNX file's shapes beside the recipe.

    Raises:
        DataError: the model is not an ONNX file, so that its shapes are not known.
    """
    if model.path is None:
        raise DataError(f"{source}: name samples with --data; shapes of inputs are known of ONNX files only")
    batches = random_batches(model.path, count=_RANDOM, sizes={})
    place = output.with_name(f"{output.stem}-random-inputs")
    with disk_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        for number, batch in enumerate(batches):
            with (place / f"{number:03d}.npz").open("wb") as file:
                write_npz(file, {name: array[None] for name, array in batch.items()})
    return place


def _notes(look: _Look) -> Iterator[str]:
    from edgeopt.train.head import described

    if not look.real:
        yield f"random inputs are in {look.data}: good for measuring time, not for ranges or accuracy; give real ones: --data"
    if look.steps is not None:
        yield "how images become the model's input is not stated: [data.preprocessing] is assumed; compare it with the training"
    if look.head is not None:
        yield f"the model has no head for these labels; the recipe trains it with a new one: {described(*look.head)}"
    if not look.task.is_labelled(look.samples):
        yield "the samples have no labels for the task: models are judged by agreement and output error"


def _head(look: _Look) -> list[str]:
    kind = "ONNX file" if look.model.path else "PyTorch model"
    return [
        f"# A recipe for the {kind} {_comment(look.source)}, written by edgeopt init. Run it: edgeopt run FILE.toml",
        "# Every option, with its default: docs/reference/recipe.md, or edgeopt run FILE.toml --dry-run for what will run.",
        _line("description", f"{look.model.name}: quantized, verified, profiled, bundled"),
        'target = "host"             # this machine; others: edgeopt targets',
        *([f"{_line('task', look.task_name)}  # {_judged(look)}"] if look.task_name else []),
        *([_line("model", str(look.model.path))] if look.model.path is not None else []),
        "seed = 0                    # of everything random",
        "",
    ]


def _judged(look: _Look) -> str:
    if look.task.is_labelled(look.samples):
        return f"judged by {look.task.metric.name}"
    return "judged by agreement with the floating-point model and by output error: there are no labels"


def _data_lines(look: _Look) -> Iterator[str]:
    from edgeopt.data.source import is_set

    count = f"{len(look.samples):,} samples"
    yield "[data]"
    if is_set(look.data):
        yield f"{_line('set', look.data)}  # its splits are used"
    elif look.head is None and (not look.real or len(look.samples) < _FEW):
        yield f"{_line('set', look.data)}  # {count}: too few to be split, so they calibrate and evaluate"
        yield '# evaluation = "…"          # others to evaluate on'
    elif look.model.path is not None:
        yield f"{_line('calibration', look.data)}  # {count}; alone, so a fifth calibrates and the others evaluate"
        yield '# evaluation = "…"          # name the test split, if there is one'
    else:
        yield f"{_line('train', look.data)}  # {count}; alone, so it is split: 80 % train, 10 % calibrate, 10 % evaluate"
        yield '# calibration = "…"         # name the other splits, if there are some'
        yield '# evaluation = "…"'
    yield "calibration_limit = 128     # as many calibrate"
    yield ""
    if look.steps is not None:
        yield "# Assumed, since nothing states it: compare size, colour, mean and scale with those of the training."
        values = look.steps.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        yield tomli_w.dumps({"data": {"preprocessing": {"kind": "image", **values}}}).removeprefix("[data]\n").strip()
        yield ""


def _model_lines(look: _Look) -> Iterator[str]:
    if look.model.path is not None:
        return
    yield "[teacher]"
    if look.head is not None:
        yield from _new_head_lines(look.source, look.head)
        return
    yield _line("source", look.source)
    if look.model.task and look.model.module is not None and hasattr(look.model.module, "config"):
        yield _line("task", look.model.task)
    layers = getattr(getattr(look.model.module, "config", None), "num_hidden_layers", None)
    yield ""
    if isinstance(layers, int) and layers > 2:
        kept = list(range(1, layers, 2))
        yield "# [distill]                 # a smaller student: every other layer of the teacher"
        yield f"# layers = {kept}"
        yield "# train = { epochs = 3 }"
        yield ""
    elif look.model.module is not None:
        yield "# [prune]                   # remove channels until this share of the multiply-accumulates is left, then recover"
        yield "# macs = 0.5"
        yield "# train = { epochs = 5 }"
        yield ""


def _new_head_lines(source: str, head: Head) -> Iterator[str]:
    yield 'source = "edgeopt.models.new_head:new_head"  # the model has no head for these labels: it is trained with a new one'
    yield _line("task", head.task)
    yield "train = { epochs = 3 }"
    yield ""
    arguments = {"source": source, "task": head.task, "labels": list(head.names)}
    yield tomli_w.dumps({"teacher": {"arguments": arguments}}).removeprefix("[teacher]\n").strip()
    yield ""


def _stage_lines(look: _Look) -> Iterator[str]:
    if isinstance(look.task, LanguageModel) and look.model.module is not None:
        yield from _language_lines(look)
        return
    yield "[quantize]                  # static int8, for the kernels of the target"
    yield "# max_drop = 0.005          # leave as few layers in floating point as keep the metric (needs labels)"
    yield ""
    yield "[verify]"
    if look.task.is_labelled(look.samples):
        yield f"max_drop_points = 1.0       # of {look.task.metric.name} that quantization may cost"
    yield "max_output_error = 0.1      # without labels: of the outputs' root mean square"
    yield ""
    yield "[profile]"
    yield "seconds = 10.0              # of measuring"
    yield '# budget = ["int8: p95_ms<=20", "int8: size_mb<=10"]'


def _language_lines(look: _Look) -> Iterator[str]:
    context = getattr(getattr(look.model.module, "config", None), "max_position_embeddings", None)
    longest = min(_PROMPT, context // 2) if isinstance(context, int) else _PROMPT
    yield "[language]                  # 4-bit weights, calibrated on the text"
    yield '# train = "10m"             # gives back most of what they lose'
    yield ""
    yield "[verify]"
    yield "max_drop_points = 20.0      # 4 bits may raise the perplexity by this many percent"
    yield ""
    yield "[generation]"
    yield f"contexts = [{longest}]            # tokens of the prompts that are measured"
    yield '# budget = ["tokens_per_s>=20"]'


def _line(key: str, value: str) -> str:
    """Return ``key = "value"`` in TOML, whatever is in the value."""
    return tomli_w.dumps({key: value}).strip()


def _comment(text: str) -> str:
    """Return `text` as it may stand in a comment of TOML: on one line, without control characters."""
    return printable(" ".join(text.split()))
