"""The stage `profile`: measure the ONNX models side by side on the target."""

from __future__ import annotations

from edgeopt.errors import RecipeError
from edgeopt.files import write_json
from edgeopt.stages.job import Facts, Job


def run_profile(job: Job) -> Facts:
    """Measure the ONNX models side by side on the target."""
    from edgeopt.data.fit import fit_to
    from edgeopt.profile import profile
    from edgeopt.stages.drops import accuracy_drops, wanted

    options = job.recipe.profile
    if not options:
        raise RecipeError("the recipe does not want a profile")
    models = {_display(stage): folder / "model.onnx" for stage, folder in job.inputs.items()}
    references = [*options.references, *(name for name in models if name not in ("fp32", "int8"))]
    samples = fit_to(job.data.split("evaluation").first(options.max_batches), models["fp32"])
    drops = accuracy_drops(models, job.data.split("evaluation"), job.target) if wanted(options.budget) else {}
    config = options.model_copy(update={"references": references})
    facts = profile(models, list(samples.batches(1)), target=job.target, config=config, drops=drops).facts()
    write_json(job.workspace.output / "profile.json", facts)
    return facts


def _display(stage: str) -> str:
    """Return the name under which a stage's ONNX model stands in the report."""
    return {"export": "fp32", "import": "fp32", "quantize": "int8"}.get(stage, stage.removeprefix("export-"))
