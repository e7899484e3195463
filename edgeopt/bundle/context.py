"""The model compiled for a provider: a second file, whose nodes are the provider's context binaries (ONNX's EPContext).

    model.onnx ── the provider's compiler ──▶ context/model.onnx (EPContext) + context/model_qnn.bin

A device that loads it compiles nothing, so it starts at once. The binary is tied to the provider and to the chip that the
target's options name; the ONNX file stays in the bundle for everything else. onnxruntime's session option `ep.context_enable`
makes it in the target's own environment, and the file is run there before it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Array
from edgeopt.bundle.golden import Golden
from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph import files
from edgeopt.graph.signature import Signature
from edgeopt.lifetime import temporary_folder
from edgeopt.targets.availability import require
from edgeopt.targets.outputs import fetch_outputs
from edgeopt.targets.requests import Sent, greet, open_variant
from edgeopt.targets.runner import write_batches
from edgeopt.targets.target import Target
from edgeopt.targets.transports import connect

FOLDER = "context"
FILE = f"{FOLDER}/model.onnx"
_CPU = "CPUExecutionProvider"


def refuse(target: Target) -> None:
    """Raise an error if the provider of `target` cannot compile a model here.

    Raises:
        RecipeError: the provider compiles nothing, or is on another machine.
        MachineError: the target's environment is not installed.
    """
    if target.provider.name == _CPU:
        raise RecipeError(
            f"--context: {_CPU}, of target '{target.name}', compiles nothing; name such a target as qnn-htp-emulated"
        )
    if target.device.transport != "local":
        raise RecipeError(
            f"--context compiles on this machine, and target '{target.name}' is reached by {target.device.transport}"
        )
    require(target)


def write_context(model: Path, target: Target, folder: Path, golden: Golden, signature: Signature) -> dict[str, Any]:
    """Write the compiled model into the bundle in `folder` and return its part of bundle.json.

    Args:
        model: the ONNX file.
        target: whose provider compiles and runs it.
        folder: of the bundle that is being written.
        golden: samples with the outputs of the CPU provider.
        signature: names of the outputs.

    Raises:
        RecipeError: the provider takes no part of the model.
        ModelError: it does not compile or run it, or computes something else.
    """
    compiled = folder / FILE
    compiled.parent.mkdir()
    session = target.provider.session()
    making = {"ep.context_enable": "1", "ep.context_file_path": str(compiled.resolve()), "ep.context_embed_mode": "0"}
    with temporary_folder("edgeopt-context-") as place, connect(target) as connection, connection.start() as runner:
        write_batches(golden.inputs, place / "inputs.npz")
        version = greet(runner, where=connection.where).versions["onnxruntime"]
        inputs = connection.send(place / "inputs.npz")
        open_variant(runner, "model", Sent(connection.send(model), inputs, {**session, "config": making}))
        if not compiled.is_file():
            raise RecipeError(
                f"--context: {target.provider.name} takes no part of {model.name}; it wants fixed shapes (a batch of 1) and a "
                f"model that was quantized with --target {target.name}"
            )
        name_source(compiled, target.provider.name)
        wanted = fetch_outputs(connection, runner, "model")
        open_variant(runner, "compiled", Sent(connection.send(compiled), inputs, session))
        found = fetch_outputs(connection, runner, "compiled")
    keys = [[f"{number}/{output.name}" for output in signature.outputs] for number in range(len(golden.inputs))]
    same = [all(np.array_equal(found[key], wanted[key], equal_nan=True) for key in sample) for sample in keys]
    pairs = [
        (found[key], value)
        for sample, values in zip(keys, golden.outputs, strict=True)
        for key, value in zip(sample, values, strict=True)
    ]
    return {
        "file": FILE,
        "provider": target.provider.name,
        "onnxruntime": version,
        "samples": len(same),
        "same_outputs": sum(same),
        "difference": difference(pairs),
    }


def name_source(compiled: Path, provider: str) -> None:
    """Name `provider` as the maker of all context binaries in an ONNX file, changed in place.

    A plug-in registers by a name of its own and leaves that name in the file; devices compare it with their provider's name.
    """
    model = files.load(compiled)
    for node in model.graph:
        if node.op_type == "EPContext":
            node.attributes["source"] = ir.AttrString("source", provider)
    files.save(model, compiled)


def difference(pairs: Sequence[tuple[Array, Array]]) -> float:
    """Return the largest difference within pairs of outputs, as a share of the largest number of the second ones.

    Raises:
        ModelError: a number is finite on one side only.
    """
    off = largest = 0.0
    for got, value in pairs:
        finite = np.isfinite(value)
        if not np.array_equal(np.isfinite(got), finite):
            raise ModelError("--context: the compiled model computes infinities or NaN where the CPU does not, or the reverse")
        numbers = value[finite].astype(np.float64)
        largest = max(largest, float(np.abs(numbers).max(initial=0.0)))
        off = max(off, float(np.abs(got[finite] - numbers).max(initial=0.0)))
    return float(f"{off / (largest or 1.0):.3g}")
