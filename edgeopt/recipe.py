"""The recipe: what to make, from what, for which target, within which budget. Read from TOML, typed, frozen.

Each stage of a recipe is a table; a stage without its table is not run:

    [teacher]  [distill]  [prune]      PyTorch stages; the last one's model is exported
    model = "FILE.onnx"                instead of a teacher: an ONNX file that enters at quantize
    [export]  [quantize]  [verify]  [profile]  [bundle]
    [language]  [generation]           for a language model, in place of [quantize] and [profile]

Text in a path such as ``${EDGEOPT_DATA}/sst2_teacher`` is replaced by the environment variable's value.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, model_validator

from edgeopt.bundle.config import BundleOptions
from edgeopt.config import Options
from edgeopt.data.manifest import data_root
from edgeopt.data.preprocessing import Preprocessing
from edgeopt.distill.config import DistillOptions
from edgeopt.documents import read_toml
from edgeopt.errors import RecipeError, nearest
from edgeopt.evaluate.config import VerifyOptions
from edgeopt.export.config import ExportConfig
from edgeopt.profile.config import GenerationConfig, ProfileConfig
from edgeopt.prune.config import PruneOptions
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.language.config import LanguageOptions
from edgeopt.train.config import TrainOptions

_SHIPPED = Path(__file__).parent / "recipes"


class DataOptions(Options):
    """Which samples are used."""

    set: str | None = None
    """A calibration set's name, a folder with a manifest.toml, or any samples, to train on and to calibrate with; none: the
    sources below."""
    train: str | None = None
    """Train on these samples: a file, a folder, a set (docs/how-to/calibration-data.md); none: the set's training split. A
    source that is named alone is split into training, calibration and evaluation samples, by the seed, in the labels'
    shares."""
    calibration: str | None = None
    """Calibrate with these samples; none: the set's calibration split, else training samples."""
    evaluation: str | None = None
    """Evaluate on these samples; none: the set's evaluation split, else its calibration split."""
    train_limit: int | None = Field(default=None, ge=1)
    """Train on at most this many samples, picked at random within their labels; none: on all."""
    calibration_limit: int | None = Field(default=128, ge=1)
    """Calibrate with at most this many samples, picked at random within their labels; none: with all."""
    evaluation_limit: int | None = Field(default=None, ge=1)
    """Evaluate on at most this many samples, picked at random within their labels; none: on all."""

    preprocessing: Preprocessing | None = Field(default=None, discriminator="kind")
    """How images or recordings become inputs (kind = "image" or "audio"; bundles carry it); none: as the source, or the
    processor files of the teacher's folder, say."""

    @model_validator(mode="after")
    def _some_source(self) -> Self:
        if not any((self.set, self.train, self.calibration, self.evaluation)):
            raise ValueError("name the samples: set, or train, calibration, evaluation")
        return self


class TeacherOptions(Options):
    """The trained model that the run starts from."""

    source: str
    """A transformers folder or hub id, a folder that edgeopt saved, or module:callable."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the callable of `source`."""
    task: str | None = None
    """Task of a transformers model, such as text-classification."""
    trust_remote_code: bool = False
    """Allow code from a hub model to run."""
    train: TrainOptions | None = None
    """Train the teacher first; none: use it as it is."""


class SearchOptions(Options):
    """What `edgeopt search` varies, and how it spends its time; other commands do not read it."""

    knobs: dict[str, list[Any]] = Field(default_factory=dict)
    """Keys of the recipe and the values to try, such as `"prune.macs" = [0.5, 0.7, "off"]`; "off" leaves the key's table out.
    Empty: layers, widths, pruning and schemes are varied as the recipe's stages allow."""
    candidates: int = Field(default=8, ge=1)
    """Candidates proposed in each round."""
    rounds: int = Field(default=4, ge=1)
    """Rounds at most; the time may end before."""
    short: float = Field(default=0.25, gt=0, lt=1)
    """Share of the recipe's epochs that candidates are trained for before the best are chosen."""
    keep: int = Field(default=3, ge=1)
    """Candidates of each round that are trained in full."""
    profile_seconds: float = Field(default=2.0, gt=0)
    """Seconds of measurement for each candidate before the last one, which is as long as `[profile]` says."""
    tolerance: float = Field(default=0.1, ge=0, lt=1)
    """Candidates that are slower than a budget by less than this share before training are trained."""


class Recipe(Options):
    """A whole run: data, target, stages and their options."""

    name: str
    """Name of the run and of its bundle."""
    description: str = ""
    """One line, shown by `edgeopt recipes`."""
    target: str = "host"
    """Name of a target (see `edgeopt targets`), path to a target's .toml file, or "host": this machine's CPU."""
    task: str | None = None
    """What the models are for, such as token-classification, or a task of your own as module:callable; it says which metric is
    measured. None: the teacher's task, else the data set's."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random."""
    allow_worse: bool = False
    """Do not fail if the quantized model is slower than the fp32 one, or the pruned one not smaller; it is still reported."""
    max_drop_points: float = Field(default=5.0, ge=0)
    """Percentage points of accuracy that the final model may lose compared with the teacher; more is a failure."""
    data: DataOptions
    teacher: TeacherOptions | None = None
    distill: DistillOptions | None = None
    prune: PruneOptions | None = None
    model: str | None = None
    """An ONNX file that was exported elsewhere, instead of a teacher."""
    compare: Literal["all", "last"] = "all"
    """all: also export and profile the teacher and the unpruned student, so that the report shows each step's gain; last: only
    the last model."""
    export: ExportConfig = ExportConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    language: LanguageOptions | None = None
    """The last model is a decoder: its weights become 4 bits, as by `edgeopt quantize --preset llm`, and the bundle talks. In
    place of [quantize]."""
    generation: GenerationConfig | Literal[False] = GenerationConfig()
    """How generation is measured where there is [language], in place of [profile]; false: do not measure."""
    verify: VerifyOptions = VerifyOptions()
    profile: ProfileConfig | Literal[False] = ProfileConfig()
    """How to measure; false: do not measure, for a target that cannot be measured from this machine."""
    bundle: BundleOptions = BundleOptions()
    search: SearchOptions = SearchOptions()

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.teacher is None) == (self.model is None):
            raise ValueError('give either a [teacher] table or model = "FILE.onnx"')
        if self.teacher is None and (self.distill or self.prune):
            raise ValueError("[distill] and [prune] need a [teacher]")
        return self

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        """Refuse tables that the kind of model does not read, before an hour of training."""
        unread = ("quantize", "profile") if self.language is not None else ("generation",)
        for name in unread:
            if getattr(self, name) != type(self).model_fields[name].default:
                why = "without [language]" if self.language is None else "with [language]; set [language] and [generation]"
                raise ValueError(f"[{name}] is not read {why}")
        if self.language is not None and self.teacher is None:
            raise ValueError("[language] needs a [teacher]; edgeopt quantize --preset llm takes exported folders")
        return self

    @property
    def quantized_name(self) -> str:
        """Return what the run calls its quantized model: by the bits of its weights."""
        return "int4" if self.language is not None and self.language.body_bits == 4 else "int8"

    def to_toml(self) -> str:
        """Return the resolved recipe as TOML: every option with its value, except those that are none."""
        return tomli_w.dumps(json.loads(self.model_dump_json(exclude_none=True)))


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with edgeopt, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def recipe_descriptions() -> dict[str, str]:
    """Return the one-line descriptions of the recipes that come with edgeopt, by name."""
    texts = {name: (_SHIPPED / f"{name}.toml").read_text(encoding="utf-8") for name in recipe_names()}
    return {name: str(tomllib.loads(text)["description"]) for name, text in texts.items()}


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe called `name`, or the one in the file `name`, with `changes` such as ``quantize.ranges=percentile``.

    Raises:
        RecipeError: there is no such recipe, it is not TOML, a key is unknown or a value not allowed.
    """
    path = Path(name) if name.endswith(".toml") else _SHIPPED / f"{name}.toml"
    if not path.is_file():
        names = recipe_names()
        raise RecipeError(
            f"recipe '{name}' does not exist{nearest(name, names)}; give one of {', '.join(names)} or a path that ends in .toml"
        )
    values = read_toml(path, error=RecipeError, what="a recipe")
    for change in changes:
        apply_change(values, change)
    return Recipe.read(_expanded({"name": path.stem, **values}), where=str(path))


def apply_change(values: dict[str, Any], change: str) -> None:
    """Set one key of `values`, in place, from ``table.key=value``; the value is read as TOML, else as text.

    Raises:
        RecipeError: there is no "=", or the key leads through something that is not a table.
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: write KEY=VALUE, such as quantize.ranges=percentile")
    *tables, last = key.strip().split(".")
    place = values
    for table in tables:
        place = place.setdefault(table, {})
        if not isinstance(place, dict):
            raise RecipeError(f"--set {change}: '{table}' is a value, not a table")
    try:
        place[last] = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        place[last] = text


def _expanded(value: Any) -> Any:
    """Return `value` with every ``${NAME}`` in its strings replaced by the environment variable."""
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return re.sub(r"\$\{(\w+)\}", _variable, value) if isinstance(value, str) else value


def _variable(match: re.Match[str]) -> str:
    name = match[1]
    if name == "EDGEOPT_DATA":
        return str(data_root())
    if name not in os.environ:
        raise RecipeError(f"the recipe names the environment variable {name}, which is not set")
    return os.environ[name]
