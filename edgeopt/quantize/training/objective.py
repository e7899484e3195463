"""What a quantized graph is trained towards: the outputs of the same graph without Q/DQ pairs. No labels are needed.

    classes [samples, classes]     KL(p ‖ q) = Σ p·(log p - log q), p and q the softmax of exact and rounded logits
    every part of the outputs      Σ(y - t)² / Σ t²,  which is 10^(-SQNR/10)
    inner tensors, by choice       the same, of the sums of the residual stream

The targets are onnxruntime's of the floating-point model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional as F

from edgeopt.graph.matching import constant, name_of, rank
from edgeopt.quantize.output_parts import Part


def residual_sums(model: ir.Model) -> list[str]:
    """Return the names of the sums of two computed tensors with three or more axes: a network's residual stream."""
    return [
        name_of(node.outputs[0])
        for node in model.graph
        if node.op_type in {"Add", "Sum"}
        and len(node.inputs) == 2
        and all(value is not None and constant(value) is None for value in node.inputs)
        and (rank(node.outputs[0]) or 0) >= 3
        and not node.outputs[0].is_graph_output()
    ]


def loss(made: Mapping[str, Tensor], wanted: Mapping[str, Tensor], outputs: Sequence[Part], inner: float) -> dict[str, Tensor]:
    """Return the terms of the loss of one batch by name, each a mean over its samples.

    Args:
        made: outputs and inner tensors of the trained graph.
        wanted: the same of the floating-point model.
        outputs: which of them are outputs, and which channels of an output are compared by themselves.
        inner: the weight of the others; 0: none are compared.
    """
    terms = {"outputs": torch.stack([of_part(part, made, wanted) for part in outputs]).mean()}
    whole = [part.output for part in outputs if not part.channels]
    logits = [name for name in whole if wanted[name].ndim == 2 and wanted[name].shape[1] > 1]
    if logits:
        terms["KL"] = torch.stack([divergence(made[name], wanted[name]) for name in logits]).mean()
    others = wanted.keys() - {part.output for part in outputs}
    if inner and others:
        terms["inner"] = inner * torch.stack([relative_error(made[name], wanted[name]) for name in sorted(others)]).mean()
    return terms


def of_part(part: Part, made: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
    """Return the relative error of a part of the outputs."""
    values = made[part.output], wanted[part.output]
    channels = torch.tensor(part.channels)
    return relative_error(*(one.index_select(part.axis, channels) for one in values) if part.channels else values)


def relative_error(made: Tensor, wanted: Tensor) -> Tensor:
    """Return Σ(y - t)² / Σ t²; elements that are not finite in `wanted` do not count."""
    finite = torch.isfinite(wanted)
    made, wanted = torch.where(finite, made, 0.0), torch.where(finite, wanted, 0.0)
    return torch.square(made - wanted).sum() / torch.square(wanted).sum().clamp(min=1e-12)


def divergence(made: Tensor, wanted: Tensor) -> Tensor:
    """Return KL(p ‖ q) of logits [rows, classes], p of `wanted` and q of `made`: the mean over rows, in nats."""
    return F.kl_div(F.log_softmax(made, -1), F.log_softmax(wanted, -1), log_target=True, reduction="batchmean")
