"""The stage `import`: an ONNX file that was exported elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from edgeopt.stages.job import Facts, Job


def run_import(job: Job) -> Facts:
    """Take an ONNX file that was exported elsewhere."""
    from edgeopt.graph import onnx_file

    path = Path(str(job.recipe.model))
    model = onnx_file.load(path)
    onnx_file.save(model, job.workspace.output / "model.onnx")
    signature = onnx_file.signature(model)
    return {
        "opset": next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        "nodes": len(model.graph.node),
        "inputs": [asdict(spec) for spec in signature.inputs],
        "outputs": [asdict(spec) for spec in signature.outputs],
        "size_bytes": onnx_file.size_bytes(path),
    }
