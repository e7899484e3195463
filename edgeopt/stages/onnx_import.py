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
    from edgeopt.graph import onnx_file

    path = Path(str(job.recipe.model))
    model = onnx_file.load(path)
    onnx_file.save(model, job.workspace.output / "model.onnx")
    signature = onnx_file.signature(model)
    return ImportFacts(
        opset=next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        nodes=len(model.graph.node),
        inputs=signature.inputs,
        outputs=signature.outputs,
        size_bytes=onnx_file.size_bytes(path),
    )
