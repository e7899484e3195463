"""Print a quantization plan and sensitivities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from edgeopt.cli.tables import show
from edgeopt.escaping import safe_json

if TYPE_CHECKING:
    from edgeopt.quantize.plan.plan import NodePlan, Plan
    from edgeopt.quantize.result import LayerNoise


def show_plan(plan: Plan, form: str) -> None:
    """Print the decisions and then the nodes of `plan`; as JSON, print the plan itself, for `--plan`."""
    if form == "json":
        typer.echo(safe_json(plan.to_json()), nl=False)
        return
    show([asdict(decision) for decision in plan.decisions], form)
    typer.echo()
    show([_row(node) for node in plan.nodes] or [{"node": "none has a floating-point result"}], form)


def _row(node: NodePlan) -> dict[str, str]:
    weights = "7 bits" if node.reduce_range else ""
    return {
        "node": node.name,
        "op": node.op,
        "runs on": node.precision,
        "gives": node.output,
        "weights": weights,
        "reason": node.reason,
    }


def show_layers(layers: Sequence[LayerNoise], form: str) -> None:
    """Print the effect of each layer alone on the model's outputs, worst first."""
    show([_layer(layer) for layer in layers], form)


def _layer(layer: LayerNoise) -> dict[str, str]:
    return {
        "layer": layer.name,
        "op": layer.op,
        "SQNR of the outputs": f"{layer.sqnr_db:.1f} dB",
        "metric drop": layer.drop_text,
        "metric": layer.metric_text,
    }
