"""`calibrate-data`: check samples → compute features → pick → write a set with a manifest.

The set is made in a temporary folder (``.<name>.part``) that is renamed in one step; a killed run resumes if samples,
model and options are the same.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from edgeopt import progress
from edgeopt.config import Options
from edgeopt.data.checks import Finding, check_samples, digests, raise_errors, warnings_of
from edgeopt.data.fit import fit_to
from edgeopt.data.labels import known_classes, missing_classes
from edgeopt.data.manifest import InputManifest, Manifest, PickedSample, SplitManifest
from edgeopt.data.npz import write_npz
from edgeopt.data.preprocessing import ArrayInput, ImageInput, Preprocessing
from edgeopt.data.samples import Sample, Samples, sample_digest
from edgeopt.data.select import Choice, select
from edgeopt.data.selection.features import FeatureModel
from edgeopt.data.sets import content_hash
from edgeopt.errors import DataError, IntegrityError, RecipeError
from edgeopt.files import disk_errors, flush, sha256, write_aside, write_json
from edgeopt.hashed_files import SEAL, check_seal, json_hash, sealed_json, tensors_hash

_AXES = {"NCHW": ["channel", "height", "width"], "NHWC": ["height", "width", "channel"]}
_CHUNK = 64  # samples whose features are kept in one file while the set is made


class CalibrateConfig(Options):
    """How a calibration set is picked, and what its manifest states."""

    samples: int = Field(default=64, ge=1)
    """Number of samples to pick."""
    choose: Choice = "coverage"
    """coverage: spread over the features that the model computes; random: at random. Labels keep their shares in both."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first pick (coverage) or of all picks (random)."""
    description: str = ""
    """One line for the manifest."""
    origin: str = ""
    """Where the data comes from."""
    licence: str = ""
    """Licence of the data."""
    task: str = "generic"
    """Task, with the hub's name."""
    labels: list[str] = Field(default_factory=list)
    """Class names, in the order of their numbers."""
    preprocessing: Preprocessing = Field(default=ArrayInput(), discriminator="kind")
    """How the raw data became these inputs."""


_DEFAULTS = CalibrateConfig()


@dataclass(frozen=True)
class CalibrationSet:
    """A calibration set that was made.

    Attributes:
        path: its folder.
        samples: number of samples.
        candidates: number of samples it was picked from.
        warnings: findings, and which samples were left out.
        changed: false if the same set existed already.
    """

    path: Path
    samples: int
    candidates: int
    warnings: tuple[str, ...]
    changed: bool


def make_calibration_set(
    samples: Samples,
    *,
    output: Path,
    model: Path | None = None,
    evaluation: Samples | None = None,
    config: CalibrateConfig = _DEFAULTS,
) -> CalibrationSet:
    """Pick samples for calibration and write them to the folder `output` with a ``manifest.toml``.

    Args:
        samples: samples to pick from.
        output: the set's folder; `edgeopt quantize --calibration FOLDER` takes it.
        model: the ONNX file to calibrate; `choose = "coverage"` needs it.
        evaluation: evaluation samples; none of them is picked.
        config: how to pick, and entries of the manifest.

    Raises:
        DataError: a sample is not finite or out of range, or too few remain.
        RecipeError: something else is at `output`, or coverage is asked for without a model.
        MachineError: the disk is full or `output` cannot be written.
    """
    if config.choose == "coverage" and model is None:
        raise RecipeError("choose = coverage needs a model; name it, or choose random")
    samples = fit_to(samples, model) if model else samples
    key = _key(samples, model, evaluation, config)
    output = Path(output)
    if output.exists():
        return _there_already(output, key)
    with progress.task("check samples", total=None):
        findings = check_samples(samples, ranges=samples.ranges, evaluated=digests(evaluation) if evaluation else ())
    raise_errors(findings)
    left_out = {finding.sample for finding in findings if finding.what in {"duplicate", "leak", "constant"}}
    candidates = np.array([index for index in range(len(samples)) if index not in left_out], dtype=np.int64)
    if len(candidates) < config.samples:
        raise DataError(
            f"{config.samples} samples were requested, but only {len(candidates)} of {len(samples)} can be picked; "
            + ("; ".join(warnings_of(findings)) or "ask for fewer")
        )
    part = _begin(output, key)
    vectors = _features(part, FeatureModel(model), samples, candidates) if config.choose == "coverage" and model else None
    labels = None if samples.labels is None else samples.labels[candidates]
    picked = select(config.samples, candidates, labels=labels, features=vectors, seed=config.seed)
    _write(part, samples, picked, config, key)
    with disk_errors(output):
        part.replace(output)
        flush(output.parent)
    warnings = [*_warnings(findings, left_out, config), *_missing(samples, picked, config)]
    return CalibrationSet(output, len(picked), len(candidates), tuple(warnings), changed=True)


def _missing(samples: Samples, picked: NDArray[np.int64], config: CalibrateConfig) -> list[str]:
    """Return a warning about classes, of those that the data or `config` knows, that no picked sample has."""
    if samples.labels is None:
        return []
    known = max(known_classes(samples.labels), np.arange(len(config.labels)), key=len)
    return list(filter(None, [missing_classes(samples.labels[picked], known, where="the calibration set")]))


def _warnings(findings: list[Finding], left_out: set[int], config: CalibrateConfig) -> list[str]:
    lines = warnings_of(findings)
    if left_out:
        lines.append(f"{len(left_out)} samples were left out: constant, equal to others, or in the evaluation set")
    said = {"origin": config.origin, "licence": config.licence}
    lines.extend(f"the manifest does not state the {what} of the data; add it" for what, text in said.items() if not text)
    return lines


def _key(samples: Samples, model: Path | None, evaluation: Samples | None, config: CalibrateConfig) -> dict[str, Any]:
    return {
        "data": samples.digest,
        "model": sha256(model) if model else "",
        "evaluation": evaluation.digest if evaluation else "",
        "options": config.model_dump(mode="json"),
        "edgeopt": version("edgeopt"),
    }


def _there_already(output: Path, key: dict[str, Any]) -> CalibrationSet:
    if recorded_key(output / "made.json") == key:
        count = key["options"]["samples"]
        return CalibrationSet(output, count, count, ("the same set exists already",), changed=False)
    raise RecipeError(f"{output}: exists and is another set or folder; name another folder, or remove it")


def _begin(output: Path, key: dict[str, Any]) -> Path:
    """Return the temporary folder, emptied unless a killed run of the same set left it."""
    part = output.with_name(f".{output.name}.part")
    if recorded_key(part / "made.json") != key:
        shutil.rmtree(part, ignore_errors=True)
        write_json(part / "made.json", sealed_json({"key": key}))
    return part


def recorded_key(file: Path) -> Any:
    """Return the key of the set in the file's folder; None if there is no such file or, with a message, if it is damaged."""
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        check_seal(file, values.get(SEAL), json_hash(values), advice="it is not used")
        return values["key"]
    except IntegrityError as error:
        progress.note(str(error))
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        progress.note(f"{file}: damaged (not the JSON that was written); it is not used")
    return None


def _features(part: Path, model: FeatureModel, samples: Samples, candidates: NDArray[np.int64]) -> NDArray[Any]:
    """Return one vector per candidate, [candidates, width]; vectors of a killed run are read from its files."""
    chunks = []
    with progress.task("compute features", total=len(candidates)) as advance:
        for start in range(0, len(candidates), _CHUNK):
            indices, file = candidates[start : start + _CHUNK], part / f"features-{start:06d}.safetensors"
            vectors = kept_features(file)
            if vectors is None:
                vectors = model(samples, indices)
                keep_features(file, vectors)
            chunks.append(vectors)
            advance(len(indices))
    return np.concatenate(chunks)


def keep_features(file: Path, vectors: NDArray[Any]) -> None:
    """Write the vectors with their hash, so that a killed run can resume."""
    with write_aside(file) as aside:
        save_file({"features": vectors}, aside, {SEAL: tensors_hash([("features", vectors.dtype.str, vectors)], {})})


def kept_features(file: Path) -> NDArray[Any] | None:
    """Return the vectors of a killed run; None if it has none or, with a message, if the file is damaged."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as stored:
            vectors, metadata = stored.get_tensor("features"), stored.metadata() or {}
        check_seal(file, metadata.get(SEAL), tensors_hash([("features", vectors.dtype.str, vectors)], {}), advice="made again")
        return np.asarray(vectors)
    except (IntegrityError, SafetensorError, OSError, ValueError, TypeError) as error:
        progress.note(str(error) if isinstance(error, IntegrityError) else f"{file}: damaged; computed again")
        return None


def _write(part: Path, samples: Samples, picked: NDArray[np.int64], config: CalibrateConfig, key: dict[str, Any]) -> None:
    """Write the picked samples and the manifest into the temporary folder, and remove intermediate files."""
    rows, seen = [], []
    with progress.task("write samples", total=len(picked)) as advance:
        for number, index in enumerate(int(index) for index in picked):
            sample, label = samples[index], None if samples.labels is None else int(samples.labels[index])
            file = part / "samples" / f"{number:05d}.npz"
            _save(file, sample, label)
            seen.append({name: (array.dtype.name, array.shape) for name, array in sample.items()})
            rows.append(PickedSample(file=f"samples/{file.name}", index=index, sha256=sample_digest(sample), label=label))
            advance()
    manifest = Manifest(
        name=part.name.removeprefix(".").removesuffix(".part"),
        description=config.description or f"{len(rows)} samples, choice: {config.choose}",
        origin=config.origin or "not stated",
        licence=config.licence or "not stated",
        reader="arrays",
        inputs=[_described(name, seen, samples, config.preprocessing) for name in seen[0]],
        splits={"calibration": SplitManifest(path="samples", count=len(rows), sha256=content_hash(part / "samples"))},
        labels=config.labels,
        task=config.task,
        preprocessing=config.preprocessing,
        made={
            "by": f"edgeopt calibrate-data {key['edgeopt']}",
            "choose": config.choose,
            "seed": config.seed,
            "data": key["data"],
            "model": key["model"],
        },
        picked=rows,
    )
    with write_aside(part / "manifest.toml") as aside:
        aside.write_text(tomli_w.dumps(json.loads(manifest.model_dump_json(exclude_none=True))), encoding="utf-8")
    for file in part.glob("features-*.safetensors"):
        file.unlink()


def _save(file: Path, sample: Sample, label: int | None) -> None:
    arrays: dict[str, Any] = {name: array[None] for name, array in sample.items()}
    if label is not None:
        arrays["labels"] = np.array([label], dtype=np.int64)
    with write_aside(file) as aside, aside.open("wb") as stream:
        write_npz(stream, arrays)


def _described(
    name: str, seen: list[dict[str, tuple[str, tuple[int, ...]]]], samples: Samples, preprocessing: Preprocessing
) -> InputManifest:
    """Describe an input: an axis that is not the same in all samples is ragged, and gets a name."""
    (dtype, first), shapes = seen[0][name], [item[name][1] for item in seen]
    if len({len(shape) for shape in shapes}) != 1:
        raise DataError(f"input '{name}': samples differ in their number of axes; prepare them alike")
    same = [len({shape[axis] for shape in shapes}) == 1 for axis in range(len(first))]
    shape: list[int | str] = [
        size if fixed else f"{name}_{axis}" for axis, (size, fixed) in enumerate(zip(first, same, strict=True))
    ]
    low, high = samples.ranges.get(name, (None, None))
    axes = _AXES[preprocessing.layout] if isinstance(preprocessing, ImageInput) and len(shape) == 3 else []
    return InputManifest(name=name, dtype=dtype, shape=shape, low=low, high=high, axes=axes)
