"""`edgeopt bundle`: pack an ONNX file into a bundle that verifies itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgeopt.cli.options import Quiet, TargetName, refuse_others
from edgeopt.cli.output import say, warn
from edgeopt.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from edgeopt.batches import Array
    from edgeopt.bundle import BundleSpec
    from edgeopt.bundle.raw_golden import RawSample
    from edgeopt.bundle.result import BundleResult
    from edgeopt.data.manifest import Manifest
    from edgeopt.data.preprocessing import Preprocessing
    from edgeopt.graph.signature import Signature

_OF_LANGUAGE_MODELS = ("model", "output", "target", "name", "licence", "sign", "quiet")

Licence = Annotated[
    str,
    typer.Option("--licence", "--license", help="Licence of the model, such as Apache-2.0; default: what its folder states."),
]
DataLicence = Annotated[
    str,
    typer.Option("--data-licence", "--data-license", help="Licence of the data; default: what the set or its folder states."),
]
ModelFormat = Annotated[
    str,
    typer.Option("--format", help="onnx, or ort: onnxruntime's format, with the operators of a reduced build."),
]
InGraph = Annotated[
    bool,
    typer.Option("--in-graph", help="Add a model that takes image files: decoding and resizing in its graph."),
]
Context = Annotated[
    bool,
    typer.Option("--context", help="Add the model compiled for the target's provider, such as QNN's context binary."),
]
Latency = Annotated[
    bool,
    typer.Option("--latency", help="Measure p50 and p95 here and record them with this device, for verify --budget recorded."),
]


def bundle(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="The ONNX file, or the folder of a language model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Golden inputs: a file, a folder or a set; a language model needs none.")
    ] = None,
    target: TargetName = "host",
    name: Annotated[str | None, typer.Option("--name", help="Name of the bundle; default: the model's.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="What the model is for; default: the data set's.")] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    preprocessing: Annotated[
        Path | None, typer.Option("--preprocessing", help="How raw data becomes inputs (.toml, .json); default: the data's.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Class names: one per line, or JSON; default: the data's.")
    ] = None,
    decoding: Annotated[
        Path | None, typer.Option("--decoding", help="How outputs become answers (.toml, .json); default: by task and outputs.")
    ] = None,
    licence: Licence = "",
    data_licence: DataLicence = "",
    form: ModelFormat = "onnx",
    in_graph: InGraph = False,
    compiled: Context = False,
    latency: Latency = False,
    sign: Annotated[Path | None, typer.Option("--sign", help="Private key (PEM, ECDSA P-256) to sign the bundle with.")] = None,
    golden: Annotated[int, typer.Option("--golden", min=1, help="Number of golden samples.")] = 8,
    quiet: Quiet = False,
) -> None:
    """Pack a model with its schema, preprocessing, labels, golden outputs and hashes; run its example before it is done."""
    if data is None or model.is_dir():
        _need_language_model(model, in_graph=in_graph)
        taken = _OF_LANGUAGE_MODELS if _format(form) == "ort" else (*_OF_LANGUAGE_MODELS, "form")
        refuse_others(
            context, taken, "not for a language model, whose bundle records its own tokens, speeds and golden prompts"
        )
        _bundle_language_model(model, output, target=target, name=name, licence=licence, sign=sign)
        return
    from edgeopt.bundle import write_bundle
    from edgeopt.bundle.guess import read_decoding_file
    from edgeopt.bundle.raw import read_labels
    from edgeopt.cli.progress_bars import shown
    from edgeopt.targets.target import load_target

    names = read_labels(labels) if labels else ()
    source = _Source(model, data, tokenizer, preprocessing, names, task, golden)
    found = _spec(source, model_licence=licence, data_licence=data_licence)
    made_for = load_target(target)
    spec = replace(
        found,
        name=name or found.name,
        target=made_for.name,
        decoding=read_decoding_file(decoding) if decoding else None,
        format=_format(form),
        in_graph=in_graph,
        context=made_for if compiled else None,
        latency=latency,
    )
    with shown(quiet=quiet):
        result = write_bundle(spec, output=output, sign=sign)
    _show(output, result)


def _format(name: str) -> Literal["onnx", "ort"]:
    if name not in ("onnx", "ort"):
        raise RecipeError(f"--format {name}: allowed are onnx and ort")
    return "ort" if name == "ort" else "onnx"


@dataclass(frozen=True)
class _Source:
    """What a bundle is made of: options of the command."""

    model: Path
    data: str
    tokenizer: Path | None
    preprocessing: Path | None
    labels: tuple[str, ...]
    task: str | None
    golden: int


def _spec(source: _Source, *, model_licence: str, data_licence: str) -> BundleSpec:
    """Return the content of the bundle, as model, data and their folders tell it."""
    from edgeopt.bundle import BundleSpec
    from edgeopt.bundle.guess import is_of_embeddings
    from edgeopt.bundle.raw import Tokenizer, find_tokenizer, for_model, takes_raw, task_beside, tokenizer_beside
    from edgeopt.bundle.raw_golden import single_texts
    from edgeopt.cli.bundle_origins import licences_of, origins_of
    from edgeopt.data.model_folder import facts_of
    from edgeopt.data.preprocessing import read_preprocessing_file
    from edgeopt.data.source import tokenizer_of
    from edgeopt.graph import files

    model, data = source.model, source.data
    signature = files.signature(files.load(model))
    tokenizer = source.tokenizer or tokenizer_of(data) or tokenizer_beside(model, signature)
    folder = tokenizer if tokenizer and (tokenizer / "config.json").is_file() else model.parent
    known = facts_of(folder)
    words = Tokenizer(find_tokenizer(tokenizer)) if tokenizer else None
    steps = read_preprocessing_file(source.preprocessing) if source.preprocessing else None
    manifest, inputs, raw = _golden(data, steps, source.golden, model, tokenizer)
    task = (
        source.task or (manifest.task if manifest.task != "generic" else "") or known.task or task_beside(folder) or "generic"
    )
    if raw and is_of_embeddings(task):
        raw = single_texts(raw)
    made = steps or for_model(
        manifest.preprocessing,
        words,
        signature,
        pairs=raw is not None and any(isinstance(sample.text, tuple) for sample in raw),
    )
    stated = licences_of(model, data, manifest, model_licence=model_licence, data_licence=data_licence)
    return BundleSpec(
        model=model,
        name=model.stem,
        task=task,
        target="",
        golden=inputs,
        preprocessing=made,
        labels=source.labels or _class_names(data, manifest.labels, known.names, signature, task),
        raw=raw if takes_raw(made) else None,
        origins=origins_of(model, data, manifest),
        licences=stated.names,
        files={**({"tokenizer.json": words.file} if words else {}), **stated.files},
    )


def _class_names(data: str, found: Sequence[str], known: tuple[str, ...], signature: Signature, task: str) -> tuple[str, ...]:
    """Return the names of the classes: of the calibration set, the model, or the data, where these are as many as it has."""
    from edgeopt.bundle.guess import is_of_embeddings
    from edgeopt.data.source import set_of

    if set_of(data) is not None and found:
        return tuple(found)
    if known or not found or is_of_embeddings(task) or "regression" in task:
        return known
    shapes = [tensor.shape for tensor in signature.outputs]
    classes = shapes[0][-1] if len(shapes) == 1 and len(shapes[0]) == 2 else None
    if isinstance(classes, int) and classes != len(found):
        warn(f"the data names {len(found)} classes and the model has {classes}: no names are recorded; give them with --labels")
        return ()
    return tuple(found)


def _golden(
    data: str, steps: Preprocessing | None, count: int, model: Path, tokenizer: Path | None
) -> tuple[Manifest, list[dict[str, Array]], tuple[RawSample, ...] | None]:
    """Return what is known of the data, the golden inputs, and the raw inputs that they are of, if there are some."""
    from edgeopt.bundle.raw import find_tokenizer, takes_raw
    from edgeopt.bundle.raw_golden import prepared_inputs
    from edgeopt.bundle.raw_source import raw_of_source
    from edgeopt.cli.options import read_calibration
    from edgeopt.data.samples import from_arrays
    from edgeopt.data.select import limited
    from edgeopt.data.source import described, set_of
    from edgeopt.graph import files

    raw = raw_of_source(data, count) if steps is None or takes_raw(steps) else None
    if steps is not None and raw:
        signature = files.signature(files.load(model))
        inputs = prepared_inputs(raw, steps, signature, find_tokenizer(tokenizer) if tokenizer else None)
        return set_of(data) or described(data, from_arrays(inputs[0], shared=frozenset(inputs[0]))), inputs, raw
    samples = read_calibration(data, tokenizer, model)
    inputs = [dict(batch) for batch in limited(samples, count).batches(1)]
    return set_of(data) or described(data, samples), inputs, raw


def _show(output: Path, result: BundleResult) -> None:
    say(f"{output}: {len(result.files)} files, {result.size_bytes / 1e6:.2f} MB, verified; SHA-256 {result.sha256}")


def _bundle_language_model(
    model: Path, output: Path, *, target: str, name: str | None, licence: str, sign: Path | None
) -> None:
    """Bundle a language model, whose golden tokens need no data."""
    from edgeopt.bundle.encoder_decoder import write_encoder_decoder
    from edgeopt.bundle.language_model import LanguageModelSpec, write_language_model
    from edgeopt.bundle.licence import licence_of
    from edgeopt.generate.engine.encoder_decoder import is_encoder_decoder
    from edgeopt.targets.target import load_target

    made_for = load_target(target).name
    called = name or (model.resolve().name if model.is_dir() else model.stem)
    made = write_encoder_decoder if is_encoder_decoder(model) else write_language_model
    stated = None if licence else licence_of(model if model.is_dir() else model.resolve().parent)
    if stated is not None:
        say(f"licence of the model: {stated.name}, as {stated.stated_in.name} beside it says", err=True)
    spec = LanguageModelSpec(model, called, made_for, licence=stated.name if stated is not None else licence)
    result = made(spec, output=output, sign=sign)
    for check in result.checks:
        say(check, err=True)
    _show(output, result)


def _need_language_model(model: Path, *, in_graph: bool) -> None:
    """Refuse a folder that holds no language model, and a file that needs golden inputs."""
    from edgeopt.generate.engine.encoder_decoder import is_encoder_decoder
    from edgeopt.generate.opening import is_language_model

    if not model.exists():
        raise ModelError(
            f"{model}: no such file or folder; give an ONNX file, or a folder that edgeopt export or quantize wrote"
        )
    if is_encoder_decoder(model) or is_language_model(model):
        return
    if in_graph:
        raise RecipeError("--in-graph is for models of images, and --data is missing: name golden inputs")
    if model.is_dir():
        raise ModelError(f"{model}: is a folder without a language model; give its ONNX file, and --data")
    raise RecipeError("--data is missing: name golden inputs, a file, a folder or a set (only language models need none)")
