"""Write a bundle: build it in a temporary folder, flush it to the disk, verify it as on the device, rename it into place.

Two writes of one spec give the same bytes: they contain no time, no path of this machine and no order of a set.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgeopt import __version__, files
from edgeopt._folders import shipped
from edgeopt.bundle import context, ort_format, sbom
from edgeopt.bundle.example import try_example
from edgeopt.bundle.golden import Golden, arithmetic_of, record_golden, write_golden
from edgeopt.bundle.guess import guess_decoding
from edgeopt.bundle.in_graph import FILE as FROM_IMAGE
from edgeopt.bundle.in_graph import write_in_graph
from edgeopt.bundle.ort_format import write_ort
from edgeopt.bundle.pack import refuse_in_bundle
from edgeopt.bundle.raw_golden import raw_of_samples, record_answers
from edgeopt.bundle.readme import readme
from edgeopt.bundle.result import BundleFile, BundleResult
from edgeopt.bundle.sign import load_private_key, sign_bundle
from edgeopt.bundle.spec import SCHEMA_VERSION, BundleSpec, Origin
from edgeopt.bundle.verify import device_verify, device_verify_path, verify_bundle
from edgeopt.data.preprocessing import ArrayInput, TokenizerInput, files_needed, inputs_fed
from edgeopt.device_code import inference, inference_folder
from edgeopt.errors import DataError, InternalError, MachineError, ModelError, RecipeError
from edgeopt.graph import files as onnx_files
from edgeopt.graph.requirements import minimum_onnxruntime, opsets
from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.tasks.decoding import Decoding

_MODEL = "model.onnx"
_GOLDEN = "golden.npz"
_PACKAGES = ("numpy", "onnx", "onnxruntime")


def write_bundle(spec: BundleSpec, *, output: Path, sign: Path | None = None) -> BundleResult:
    """Write the bundle that `spec` describes to the folder `output`, replacing a bundle that is there.

    `sign` is the file of a private key (PEM, ECDSA) that signs it.

    Raises:
        ModelError: the model cannot be read or run.
        DataError: a golden sample does not fit the model, or a file to include is missing.
        RecipeError: the spec contradicts the model, its example does not run on raw data, or `output` is no bundle.
        MachineError: the disk is full or cannot be written; the previous content of `output` is intact.
    """
    output = Path(output)
    refuse_foreign(output)
    if sign is not None:
        load_private_key(sign)
    if spec.context is not None:
        context.refuse(spec.context)
    model = onnx_files.load(spec.model)
    signature = onnx_files.signature(model)
    sources = _sources(spec)
    _check_inputs(spec, signature)
    golden = record_golden(
        spec.model,
        spec.golden,
        signature=signature,
        arithmetic=arithmetic_of(model),
        labels=len(spec.labels),
        tolerances=spec.tolerances,
    )
    _check_labels(spec, golden)
    facts = _model_facts(spec, model, signature, golden)
    with files.disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        files.remove_leftovers(output)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=files.aside_prefix(output), suffix=".part") as parent:
            aside = Path(parent) / output.name
            aside.mkdir()
            _copy(sources, aside)
            if spec.format == "ort":
                write_ort(spec.model, aside)
            facts |= _facts_of_file(spec, aside / facts["model"]["file"], golden)
            write_golden(golden, aside / _GOLDEN, signature=signature)
            answers = _answers(aside, spec, facts, golden)
            if spec.in_graph:
                facts["in_graph"] = write_in_graph(spec.model, spec.preprocessing, aside, facts, answers)
            if spec.context is not None:
                facts["context"] = context.write_context(spec.model, spec.context, aside, golden, signature)
            (aside / "README.md").write_text(readme(spec, facts), encoding="utf-8")
            manifest = _seal(aside, spec, facts, golden, answers)
            checks = (*checked(aside), f"example: {try_example(aside, spec.preprocessing, golden.inputs[0])}")
            if sign is not None:
                sign_bundle(aside, sign, name=spec.name)
            flush_all(aside)
            result = result_of(output, aside, manifest, checks)
            take_place(aside, output, Path(parent) / "replaced")
            files.flush(output.parent)
    return result


def refuse_foreign(output: Path) -> None:
    """Raise an error if `output` is not a bundle: nothing else is ever replaced; or if it lies in another one."""
    refuse_in_bundle(output)
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise RecipeError(f"{output}: exists and is not a folder; give a folder that is a bundle or does not exist")
    if output.is_dir() and any(output.iterdir()) and not (output / "bundle.json").is_file():
        raise RecipeError(f"{output}: holds files but no bundle.json, so it is not a bundle; give another folder")


def _sources(spec: BundleSpec) -> dict[str, Path]:
    """Return path in the bundle → source, for all files that are copied."""
    sources: dict[str, Path] = {}
    if spec.format == "onnx":
        sources = {path.relative_to(Path(spec.model).parent).as_posix(): path for path in onnx_files.external_files(spec.model)}
    made = {
        ort_format.MODEL,
        ort_format.OPERATORS,
        FROM_IMAGE,
        "bundle.json",
        "SHA256SUMS",
        _GOLDEN,
        "README.md",
        "recipe.toml",
        "verify.py",
        "example.py",
        sbom.FILE,
    }
    own = next((name for name in sources if name in made | {_MODEL}), None)
    if own is not None:
        raise ModelError(f"{spec.model}: its data file is called '{own}', as a file of the bundle; save it under another name")
    if spec.format == "onnx":
        sources[_MODEL] = Path(spec.model)
    for name, path in spec.files.items():
        reason = device_verify().unsafe(name)
        if name in made | set(sources) or name.startswith(("inference/", "golden/", "context/")):
            reason = "is a name that the bundle itself uses"
        if reason:
            raise RecipeError(f"file '{name}' {reason}; give a plain relative path with slashes")
        if not Path(path).is_file():
            raise DataError(f"{path}: no such file; it should become '{name}' in the bundle")
        sources[name] = Path(path)
    missing = [name for name in files_needed(spec.preprocessing) if name not in sources]
    if missing:
        raise RecipeError(f"preprocessing needs '{missing[0]}', which is not among the bundle's files; add it to them")
    sources["verify.py"] = device_verify_path()
    for path in sorted(inference_folder().glob("*.py")):
        sources[f"inference/{path.name}"] = path
    sources["example.py"] = shipped("deploy") / "templates" / "python" / "example.py"
    return sources


def _check_inputs(spec: BundleSpec, signature: Signature) -> None:
    names = [tensor.name for tensor in signature.inputs]
    for name in inputs_fed(spec.preprocessing):
        if name not in names:
            raise RecipeError(
                f"preprocessing feeds '{name}', which the model does not take; its inputs are: {', '.join(names)}"
            )


def _check_labels(spec: BundleSpec, golden: Golden) -> None:
    """Refuse class names for a classifier of another number of classes, or for a single output [samples, classes] of one."""
    classes = {shape[-1] for shape in golden.shapes if shape and isinstance(shape[-1], int)}
    classifies = "classification" in spec.task or [len(shape) for shape in golden.shapes] == [2]
    if spec.labels and classifies and len(classes) == 1 and len(spec.labels) not in classes:
        raise RecipeError(
            f"{len(spec.labels)} class names for a model of {classes.pop()} classes; name all, in order, with --labels FILE"
        )


def _model_facts(spec: BundleSpec, model: Any, signature: Signature, golden: Golden) -> dict[str, Any]:
    """Return the model's part of bundle.json."""
    folder = Path(spec.model).parent
    external = [] if spec.format == "ort" else onnx_files.external_files(spec.model)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": spec.name,
        "task": spec.task,
        "target": spec.target,
        "model": {
            "file": _MODEL if spec.format == "onnx" else ort_format.MODEL,
            "external_data": [path.relative_to(folder).as_posix() for path in external],
            "opsets": opsets(model),
            "ir_version": model.ir_version,
            "arithmetic": arithmetic_of(model),
            "minimum_onnxruntime": minimum_onnxruntime(model) if spec.format == "onnx" else ort_format.minimum(model),
        },
        "inputs": [
            _tensor(replace(tensor, shape=shape)) for tensor, shape in zip(signature.inputs, golden.input_shapes, strict=True)
        ],
        "outputs": [
            _tensor(replace(tensor, shape=shape)) for tensor, shape in zip(signature.outputs, golden.shapes, strict=True)
        ],
        "dynamic_axes": sorted({axis for tensor in signature.inputs for axis in tensor.shape if isinstance(axis, str)}),
        "preprocessing": spec.preprocessing.model_dump(mode="json"),
        "decoding": _decoding(spec, signature, golden).model_dump(mode="json"),
        "labels": list(spec.labels),
        "architectures": architectures(model),
        "licences": dict(spec.licences),
        "recipe": "recipe.toml" if spec.recipe_toml is not None else None,
        "versions": versions_of(spec.versions),
    }


def _facts_of_file(spec: BundleSpec, file: Path, golden: Golden) -> dict[str, Any]:
    """Return what the bundle's model file tells: the chain of hashes that ends in it, and where its operators run."""
    code, verifier = inference("provenance"), device_verify()
    last = Origin(code.FILE, file.name, files.sha256(file))
    expected = inference("conditions").record(verifier.open_model, str(file), golden.inputs[0], verifier.PROVIDER, spec.latency)
    return {"origins": code.chained([asdict(origin) for origin in (*spec.origins, last)]), "expected": expected}


def _decoding(spec: BundleSpec, signature: Signature, golden: Golden) -> Decoding:
    """Return the decoding that the spec names, or the one that fits the task and the outputs; its outputs must exist."""
    names = [tensor.name for tensor in signature.outputs]
    if spec.decoding is None:
        outputs = list(zip(names, golden.outputs[0], strict=True))
        return guess_decoding(spec.task, outputs, preprocessing=spec.preprocessing, labels=spec.labels)
    values = spec.decoding.model_dump()
    wanted = [values.get(key) for key in ("output", "boxes", "scores", "start", "end")] + list(values.get("outputs", []))
    for name in wanted:
        if name is not None and name not in names:
            raise RecipeError(f"decoding reads output '{name}', which the model does not have; it has: {', '.join(names)}")
    return spec.decoding


def _answers(folder: Path, spec: BundleSpec, facts: dict[str, Any], golden: Golden) -> list[dict[str, Any]]:
    """Record the answers to the raw inputs that the spec names, or to those that its golden inputs come from."""
    if spec.raw is not None:
        return record_answers(folder, facts, spec.raw)
    steps = spec.preprocessing
    tokenizer = Path(spec.files[steps.file]) if isinstance(steps, TokenizerInput) else None
    samples = golden.inputs[:2] if isinstance(steps, ArrayInput) else golden.inputs  # (arrays are in golden.npz already)
    try:
        return record_answers(folder, facts, raw_of_samples(samples, steps, tokenizer))
    except RecipeError:  # the user did not name them; the example says what does not fit
        shutil.rmtree(folder / "golden", ignore_errors=True)
        return []


def architectures(model: Any) -> list[str]:
    """Return the machines that a model compiled for one runs on; empty: it runs anywhere."""
    compiled = any(node.op_type == "EPContext" or node.domain == "com.microsoft.nchwc" for node in model.graph)
    return [platform.machine()] if compiled else []


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def versions_of(given: Mapping[str, str]) -> dict[str, str]:
    """Return the versions to record: edgeopt's, Python's, those that matter, and the given ones."""
    found = {"edgeopt": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # such as a vendor's build of onnxruntime under another name
            found[name] = "unknown"
    return {**found, **given}


def _copy(sources: Mapping[str, Path], folder: Path) -> None:
    for name, path in sources.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _seal(
    folder: Path, spec: BundleSpec, facts: dict[str, Any], golden: Golden, answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the recipe and seal the bundle; return the manifest."""
    if spec.recipe_toml is not None:
        (folder / "recipe.toml").write_text(spec.recipe_toml, encoding="utf-8")
    golden_facts = {
        "file": _GOLDEN,
        "samples": len(golden.inputs),
        "machine": platform.machine(),
        "provider": device_verify().PROVIDER,
        "tolerances": list(golden.tolerances),
        "raw": answers,
    }
    (folder / sbom.FILE).write_text(sbom.bill_of_materials(facts, _inventory(folder)), encoding="utf-8")
    return seal(folder, {**facts, "golden": golden_facts, "sbom": sbom.FILE})


def seal(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write bundle.json from `facts` and the hash of every file, then SHA256SUMS over all; return the manifest."""
    manifest = {**facts, "files": [asdict(file) for file in _inventory(folder)]}
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "bundle.json").write_text(text, encoding="utf-8")
    sums = device_verify().sums_text(files.sha256(folder / "bundle.json"), manifest["files"])
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return manifest


def _inventory(folder: Path) -> list[BundleFile]:
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.relative_to(folder).as_posix())
    return [BundleFile(path.relative_to(folder).as_posix(), files.sha256(path), path.stat().st_size) for path in paths]


def checked(folder: Path) -> tuple[str, ...]:
    """Verify a bundle that was just written and return what was found, in words."""
    report = verify_bundle(folder)
    if not report.passed:
        found = next(check for check in report.checks if check.status != "passed")
        raise InternalError(f"{folder.name}: the bundle just written does not verify: {found.name}: {found.detail}")
    return tuple(f"{check.name}: {check.detail}" for check in report.checks)


def flush_all(folder: Path) -> None:
    """Flush every file of a bundle to the disk."""
    for path in [*folder.rglob("*"), folder]:
        files.flush(path)


def take_place(aside: Path, output: Path, replaced: Path) -> None:
    """Rename `aside` to `output`; the previous content moves to `replaced` and is restored if the rename fails."""
    stood = output.exists()
    if stood:
        os.replace(output, replaced)  # noqa: PTH105  (a folder: Path.replace says file)
    try:
        os.replace(aside, output)  # noqa: PTH105
    except OSError as error:
        if stood:
            os.replace(replaced, output)  # noqa: PTH105
        raise MachineError(f"{output}: the finished bundle could not be moved here: {error}") from error


def result_of(output: Path, folder: Path, manifest: dict[str, Any], checks: tuple[str, ...]) -> BundleResult:
    """Return the facts about the bundle in `folder` that becomes `output`."""
    inventory = tuple(file for file in _inventory(folder) if file.path != "SHA256SUMS")
    return BundleResult(
        path=output.name,
        sha256=files.sha256(folder / "SHA256SUMS"),
        size_bytes=sum(file.size_bytes for file in inventory) + (folder / "SHA256SUMS").stat().st_size,
        files=inventory,
        minimum_onnxruntime=manifest["model"]["minimum_onnxruntime"],
        verified=True,
        checks=checks,
    )
