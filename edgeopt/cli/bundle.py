"""`edgeopt bundle`: pack an ONNX file into a bundle that verifies itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Quiet, TargetName
from edgeopt.cli.output import say


def bundle(
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    data: Annotated[str, typer.Option("--data", help="Golden inputs: a file, a folder or a set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle.")],
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
    licence: Annotated[str, typer.Option("--licence", help="Licence of the model, such as Apache-2.0.")] = "",
    sign: Annotated[Path | None, typer.Option("--sign", help="Private key (PEM, ECDSA P-256) to sign the bundle with.")] = None,
    golden: Annotated[int, typer.Option("--golden", min=1, help="Number of golden samples.")] = 8,
    quiet: Quiet = False,
) -> None:
    """Pack a model with its schema, preprocessing, labels, golden outputs and hashes; run its example before it is done."""
    from edgeopt.bundle import BundleSpec, write_bundle
    from edgeopt.bundle.guess import read_decoding_file
    from edgeopt.bundle.raw import Tokenizer, find_tokenizer, for_model, read_labels, takes_raw
    from edgeopt.bundle.raw_golden import prepared_inputs
    from edgeopt.bundle.raw_source import raw_of_source
    from edgeopt.cli.options import read_calibration
    from edgeopt.cli.progress_bars import shown
    from edgeopt.data.preprocessing import read_preprocessing_file
    from edgeopt.data.samples import from_arrays
    from edgeopt.data.select import limited
    from edgeopt.data.source import described, set_of, tokenizer_of
    from edgeopt.graph import files
    from edgeopt.targets.target import load_target

    signature = files.signature(files.load(model))
    place = tokenizer or tokenizer_of(data)
    words = Tokenizer(find_tokenizer(place)) if place else None
    steps = read_preprocessing_file(preprocessing) if preprocessing else None
    raw = raw_of_source(data, golden) if steps is None or takes_raw(steps) else None
    if steps is not None and raw:
        inputs = prepared_inputs(raw, steps, signature, words.file if words else None)
        manifest = set_of(data) or described(data, from_arrays(inputs[0]))
    else:
        samples = read_calibration(data, tokenizer, model)
        manifest = set_of(data) or described(data, samples)
        inputs = [dict(batch) for batch in limited(samples, golden).batches(1)]
    made = steps or for_model(manifest.preprocessing, words, signature)
    spec = BundleSpec(
        model=model,
        name=name or model.stem,
        task=task or manifest.task,
        target=load_target(target).name,
        golden=inputs,
        preprocessing=made,
        labels=read_labels(labels) if labels else tuple(manifest.labels),
        decoding=read_decoding_file(decoding) if decoding else None,
        raw=raw if takes_raw(made) else None,
        licences={**({"model": licence} if licence else {}), "data": manifest.licence},
        files={"tokenizer.json": words.file} if words else {},
    )
    with shown(quiet=quiet):
        result = write_bundle(spec, output=output, sign=sign)
    say(f"{output}: {len(result.files)} files, {result.size_bytes / 1e6:.2f} MB, verified; SHA-256 {result.sha256}")
