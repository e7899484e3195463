"""The stage `import`: an ONNX file that was exported elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeopt.graph.signature import TensorSpec
from edgeopt.stages.job import Job


@dataclass(frozen=True)
class ImportFacts:
    """An ONNX file that was exported elsewhere."""

    opset: int
    nodes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    size_bytes: int


def run_import(job: Job) -> ImportFacts:
    """Take an ONNX file that was exported elsewhere."""
    from edgeopt.graph import files
    from edgeopt.graph.editing import opset_of

    path = Path(str(job.recipe.model))
    model = files.load(path)
    files.save(model, job.workspace.output / "model.onnx")
    signature = files.signature(model)
    return ImportFacts(
        opset=opset_of(model),
        nodes=len(model.graph),
        inputs=signature.inputs,
        outputs=signature.outputs,
        size_bytes=files.size_bytes(path),
    )
