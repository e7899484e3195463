"""The stage `profile`: measure the ONNX models side by side on the target."""

from __future__ import annotations

from edgeopt.errors import RecipeError
from edgeopt.files import write_json
from edgeopt.profile.result import ProfileResult
from edgeopt.roles import Role, role_of
from edgeopt.stages.job import Job


def run_profile(job: Job) -> ProfileResult:
    """Measure the ONNX models interleaved on the target."""
    from edgeopt.data.fit import fit_to
    from edgeopt.data.select import limited
    from edgeopt.profile import profile
    from edgeopt.stages.drops import accuracy_drops, wanted
    from edgeopt.stages.task import task_of

    options = job.recipe.profile
    if not options:
        raise RecipeError("the recipe has profile = false")
    models = {_display(stage): folder / "model.onnx" for stage, folder in job.inputs.items()}
    references = [*options.references, *(name for name in models if role_of(name) not in (Role.BASELINE, Role.QUANTIZED))]
    samples = fit_to(limited(job.data.split("evaluation"), options.max_batches), models["fp32"])
    evaluation = job.data.split("evaluation")
    drops = accuracy_drops(models, evaluation, job.target, task_of(job, evaluation)) if wanted(options.budget) else {}
    config = options.model_copy(update={"references": references})
    result = profile(models, list(samples.batches(1)), target=job.target, config=config, drops=drops)
    write_json(job.workspace.output / "profile.json", result.facts())
    return result


def _display(stage: str) -> str:
    """Return the name of a stage's ONNX model in the report."""
    return {"export": "fp32", "import": "fp32", "quantize": "int8"}.get(stage, stage.removeprefix("export-"))
