"""Prepare a model's file, and make sure that the prepared form still computes the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeopt.batches import Batch
from edgeopt.errors import InternalError
from edgeopt.graph import files
from edgeopt.graph.outputs import same_outputs
from edgeopt.quantize.plan.plan import Decision
from edgeopt.quantize.prepare import Prepared, prepare
from edgeopt.targets.target import Target


def prepare_for(path: Path, target: Target, *, rewrite: bool) -> Prepared:
    """Return the model at `path` ready for a scheme; with `rewrite` in the form that the target's integer kernels take best."""
    bounded = rewrite and target.quantization.rules.placement == "everywhere"
    rewrite = rewrite and target.provider.name == "CPUExecutionProvider"
    return prepare(files.load(path), str(path), rewrite=rewrite, bounded=bounded)


def checked_on(prepared: Prepared, path: Path, first: Batch) -> Prepared:
    """Return `prepared` if it gives what the model at `path` gives on a batch; else the model without the rewrites.

    Raises:
        InternalError: the model without the rewrites computes something else, too.
    """
    if same_outputs(path, prepared.model, first):
        return prepared
    plain = prepare(files.load(path), str(path), rewrite=False)
    if not same_outputs(path, plain.model, first):
        raise InternalError(f"{path}: preparing the model changes what it computes; please report it with the model")
    doubt = Decision("rewrites", "none", "they changed what the model computes on the first sample; please report it")
    return replace(plain, decisions=(*plain.decisions, doubt))
