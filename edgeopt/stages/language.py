"""The stages of a language model: 4-bit weights, generation measured, a bundle that talks.

They stand where `quantize`, `profile` and `bundle` stand for other models, and write results of the same types, so that
verification, verdict and report read them alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter

from edgeopt import progress
from edgeopt.bundle.result import BundleResult
from edgeopt.errors import RecipeError
from edgeopt.files import write_json
from edgeopt.profile.result import GenerationFacts
from edgeopt.quantize.result import Agreement, Coverage, QuantizeFacts
from edgeopt.roles import Role, role_of
from edgeopt.stages.job import Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeopt.quantize import LanguageFacts
    from edgeopt.recipe import Recipe


def run_quantize_language(job: Job) -> QuantizeFacts:
    """Quantize the weights of the decoder, calibrated and measured on the windows of the calibration split."""
    from edgeopt.quantize import quantize_language_model
    from edgeopt.quantize.language.text import Windows

    options = job.recipe.language
    if options is None:
        raise RecipeError("the recipe has no [language]")
    if options.train is not None and options.train.checkpoint is None:
        train = options.train.model_copy(update={"checkpoint": job.workspace.checkpoint / "training.safetensors"})
        options = options.model_copy(update={"train": train})
    (folder,) = job.inputs.values()
    samples = job.data.split("calibration")
    if "input_ids" not in samples[0]:
        raise RecipeError('[language] needs texts as data: name a .txt file, and task = "text-generation"')
    windows = [np.asarray(samples[index]["input_ids"], np.int64) for index in range(len(samples))]
    text = Windows(job.data.manifest.name, windows)
    found = quantize_language_model(folder, text, output=job.workspace.output, config=options, target=job.target.name)
    return _facts(found.facts, job.target.name, len(windows))


def _facts(found: LanguageFacts, target: str, samples: int) -> QuantizeFacts:
    """Return what was done to a decoder as the result of the stage `quantize`."""
    from edgeopt.quantize.schemes.scheme import uniform

    likelihood = found.likelihood
    low = min(found.bits.values(), default=8)
    return QuantizeFacts(
        target=target,
        scheme=uniform("float32", f"int{low}", per_channel=True),
        samples=samples,
        tensors=len(found.bits),
        coverage=Coverage(None, ()),
        layers=(),
        sensitivity=(),
        decisions=found.decisions,
        warnings=found.warnings,
        size_bytes_before=found.size_bytes_before,
        size_bytes_after=found.size_bytes_after,
        min_onnxruntime=found.min_onnxruntime,
        agreement=Agreement(round(likelihood.agreement * likelihood.tokens), likelihood.tokens),
    )


def run_generation(job: Job) -> GenerationFacts:
    """Measure how fast each exported model of the run generates, each in a process of its own."""
    from edgeopt.profile.generation import profile_apart

    config = job.recipe.generation
    if not config:
        raise RecipeError("the recipe has generation = false")
    models = {_display(job.recipe, stage): folder for stage, folder in job.inputs.items()}
    found = []
    with progress.task("generate", total=len(models)) as advance:
        for name, folder in models.items():
            chosen = config.model_copy(update={"budget": budgets_of(name, list(models), config.budget)})
            found.append(profile_apart(folder, config=chosen, name=name))
            advance()
    facts = GenerationFacts(tuple(found))
    write_json(job.workspace.output / "generation.json", TypeAdapter(GenerationFacts).dump_python(facts, mode="json"))
    return facts


def budgets_of(name: str, names: Sequence[str], budgets: Sequence[str]) -> list[str]:
    """Return the budgets on the model `name`; those without a name are on the quantized one."""
    from edgeopt.profile.generation import budgets_for

    return budgets_for(name, names, budgets, unnamed=role_of(name) is Role.QUANTIZED)


def _display(recipe: Recipe, stage: str) -> str:
    """Return the name of a stage's model in the report."""
    return {"export": "fp32", "quantize": recipe.quantized_name}.get(stage, stage.removeprefix("export-"))


def run_bundle_language(job: Job) -> BundleResult:
    """Write the bundle: the model, its tokenizer and chat template, the engine, golden tokens."""
    from edgeopt.bundle.language_model import LanguageModelSpec, write_language_model

    spec = LanguageModelSpec(job.inputs["quantize"], job.recipe.name, job.target.name)
    return write_language_model(spec, output=job.workspace.output / "bundle")
