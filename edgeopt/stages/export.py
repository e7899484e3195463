"""The stage `export`: PyTorch to ONNX."""

from __future__ import annotations

from edgeopt.export.result import ExportFacts
from edgeopt.stages.job import Job
from edgeopt.stages.torch_model import load


def run_export(job: Job) -> ExportFacts:
    """Export the model to ONNX and compare it with PyTorch; of a pruned one also its size."""
    from edgeopt.data.select import limited
    from edgeopt.export import export

    (name, folder), *_ = job.inputs.items()
    loaded = load(job, name)
    samples = limited(job.data.split("calibration"), 16)
    config = job.recipe.export.model_copy(
        update={"task": job.recipe.export.task or loaded.task, "source": job.recipe.name}
        | ({"source_folder": folder} if (folder / "config.json").is_file() else {})
    )
    facts = export(loaded.module, samples.batches(1), target=job.target, output=job.workspace.output, config=config)
    if name == "prune":
        from edgeopt.stages.pruned_files import check_as_pruned

        check_as_pruned(facts.path, loaded.module, samples.collate([0]))
    return facts
