"""The README.md of a bundle: what it is and how to run it, for someone who has never heard of edgeopt."""

from __future__ import annotations

from typing import Any

from edgeopt.bundle.licence import UNSTATED
from edgeopt.bundle.spec import BundleSpec
from edgeopt.data.preprocessing import ArrayInput, AudioInput, ImageInput, TokenizerInput
from edgeopt.escaping import markdown, markdown_code

_TEXT = """\
# {name}

An ONNX model for **{task}**, prepared by edgeopt {edgeopt} for the target `{target}`. It needs numpy and onnxruntime{least}.

## Check it where it will run

    python verify.py

It compares every file with its SHA-256, inputs and outputs with `bundle.json`, and golden samples with their recorded outputs.
Exit status 0: everything is correct; 1: something is wrong; 2: something could not be checked. `sha256sum -c SHA256SUMS` checks
the files alone.

## Run it

    python example.py            # the first golden sample
{usage}
{from_image}{compiled}The folder `inference` does what `bundle.json` says, in plain numpy, from raw data to a named
answer: copy what you need.

| | name | dtype | shape |
|---|---|---|---|
{tensors}

{labels}
Licence of the model: {licence}; of the data: {data_licence}.

## Files

`{model}` the model{external} · `bundle.json` all of the above for programs · `golden.npz` recorded inputs and outputs ·
`golden/` raw inputs, whose answers are in `bundle.json` ·
`verify.py`, `example.py`, `inference/` · `SHA256SUMS` hash of every file{recipe}{files}
"""


def readme(spec: BundleSpec, facts: dict[str, Any]) -> str:
    """Return the text of README.md; `facts` is the model's part of bundle.json."""
    model = facts["model"]
    least = f" {model['minimum_onnxruntime']} or later" if model["minimum_onnxruntime"] else ""
    rows = [(side, tensor) for side in ("input", "output") for tensor in facts[f"{side}s"]]
    external = "".join(f", with its weights in {markdown_code(name)}" for name in model["external_data"])
    return _TEXT.format(
        name=markdown(spec.name),
        task=markdown(spec.task),
        edgeopt=facts["versions"]["edgeopt"],
        target=markdown(spec.target),
        least=least,
        usage=_usage(spec),
        from_image=_from_image(facts.get("in_graph")),
        compiled=_compiled(facts.get("context")),
        tensors="\n".join(_row(side, tensor) for side, tensor in rows),
        labels=f"{len(spec.labels)} labels: {_some(spec.labels)}\n" if spec.labels else "",
        licence=markdown(facts["licences"].get("model") or UNSTATED),
        data_licence=markdown(facts["licences"].get("data") or UNSTATED),
        model=model["file"],
        external=external + (", `required_operators.config` what runs it" if spec.format == "ort" else ""),
        recipe=" · `recipe.toml` how it was made" if spec.recipe_toml is not None else "",
        files="".join(f" · {markdown_code(name)}" for name in sorted(spec.files)),
    )


def _usage(spec: BundleSpec) -> str:
    match spec.preprocessing:
        case ImageInput():
            return "    python example.py IMAGE      # .npy (height × width × channels, uint8), or .jpg, .png with Pillow\n"
        case TokenizerInput():
            return '    python example.py "A text"   # other tokenizers than BERT\'s need the package tokenizers\n'
        case AudioInput():
            return "    python example.py SOUND.wav  # PCM, any rate; channels are mixed\n"
        case ArrayInput():
            return "    python example.py INPUT.npy  # or .npz with one array for each input\n"


def _from_image(facts: dict[str, Any] | None) -> str:
    """Return how to run the model whose preprocessing is in its graph, or nothing where there is none."""
    if facts is None:
        return ""
    agree = f"{facts['same_answers']} of {facts['raw_inputs']} golden raw inputs have the recorded answer with it"
    if not facts["raw_inputs"]:
        agree = "there was no golden raw input to try it with"
    return (
        f"`{facts['file']}` takes the bytes of an image file (input `{facts['input']}`, uint8) where the session options\n"
        f"register the library of the package {facts['package']}; {agree}.\n\n"
    )


def _compiled(facts: dict[str, Any] | None) -> str:
    """Return how to open the compiled model, or nothing where there is none."""
    if facts is None:
        return ""
    agree = f"{facts['same_outputs']} of {facts['samples']} golden samples"
    return (
        f"`{facts['file']}` is the model compiled for {facts['provider']}: open it with that provider, of onnxruntime\n"
        f"{markdown(facts['onnxruntime'])} or later. {agree} give the outputs of the model that the provider compiles\n"
        f"when it loads it; they differ from the CPU's by {100 * facts['difference']:.3g} % of the largest at most.\n\n"
    )


def _row(side: str, tensor: dict[str, Any]) -> str:
    shape = " × ".join(markdown(str(axis)) for axis in tensor["shape"]) or "scalar"
    return f"| {side} | {markdown_code(tensor['name'])} | {tensor['dtype']} | {shape} |"


def _some(labels: tuple[str, ...], most: int = 10) -> str:
    shown = ", ".join(markdown(label) for label in labels[:most])
    return f"{shown}, … (all in `bundle.json`)" if len(labels) > most else shown
