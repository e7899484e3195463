"""What a quantized graph is trained towards: the outputs of the same graph without Q/DQ pairs. No labels are needed.

    classes [samples, classes]     KL(p ‖ q) = Σ p·(log p - log q), p and q the softmax of exact and rounded logits
    every floating-point output    Σ(y - t)² / Σ t²,  which is 10^(-SQNR/10)
    inner tensors, by choice       the same, of the sums of the residual stream

The targets are onnxruntime's of the floating-point model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional as F

from edgeopt.graph.matching import constant, is_float, name_of, rank


def outputs_of(model: ir.Model) -> list[str]:
    """Return the names of the outputs that can be compared: floating-point tensors."""
    return [name_of(value) for value in model.graph.outputs if isinstance(value.type, ir.TensorType) and is_float(value)]


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


def loss(made: Mapping[str, Tensor], wanted: Mapping[str, Tensor], outputs: Sequence[str], inner: float) -> dict[str, Tensor]:
    """Return the parts of the loss of one batch by name, each a mean over its samples.

    Args:
        made: outputs and inner tensors of the trained graph.
        wanted: the same of the floating-point model.
        outputs: which of them are outputs.
        inner: the weight of the others; 0: none are compared.
    """
    parts: dict[str, Tensor] = {"outputs": torch.stack([relative_error(made[name], wanted[name]) for name in outputs]).mean()}
    logits = [name for name in outputs if wanted[name].ndim == 2 and wanted[name].shape[1] > 1]
    if logits:
        parts["KL"] = torch.stack([_divergence(made[name], wanted[name]) for name in logits]).mean()
    others = [name for name in wanted if name not in outputs]
    if inner and others:
        parts["inner"] = inner * torch.stack([relative_error(made[name], wanted[name]) for name in others]).mean()
    return parts


def relative_error(made: Tensor, wanted: Tensor) -> Tensor:
    """Return Σ(y - t)² / Σ t²; elements that are not finite in `wanted` do not count."""
    finite = torch.isfinite(wanted)
    made, wanted = torch.where(finite, made, 0.0), torch.where(finite, wanted, 0.0)
    return torch.square(made - wanted).sum() / torch.square(wanted).sum().clamp(min=1e-12)


def _divergence(made: Tensor, wanted: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(made, -1), F.log_softmax(wanted, -1), log_target=True, reduction="batchmean")
