"""Every default of a plan in words: what was chosen, and why; from the target's file and the options."""

from __future__ import annotations

from collections.abc import Iterator

from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.plan import Decision, NodePlan, Scheme
from edgeopt.targets.target import Target

_RANGES = {
    "auto": "the error of the matrix product an activation enters is least; elsewhere only unbounded sums are clipped",
    "min-max": "nothing that was seen is clipped",
    "moving-average": "rare outliers count less",
    "percentile": "a small share of the values is clipped for finer steps",
    "mse": "rounding and clipping error together are least",
    "entropy": "the rounded distribution is nearest to the original",
}
_REDUCED = {
    "never": ("8 bits", "sums of products do not saturate on this target"),
    "where-saturating": ("7 bits where needed", "sums of two u8·s8 products can saturate 16 bits on this target"),
    "always": ("7 bits everywhere", "the target's file wants it"),
}


def explain(scheme: Scheme, nodes: tuple[NodePlan, ...], target: Target, config: QuantizeConfig) -> Iterator[Decision]:
    """Yield a decision for each default of target and options, with its reason."""
    kind = "per channel" if scheme.per_channel else "per tensor"
    yield Decision("integers", f"{scheme.activation} activations, {scheme.weight} weights {kind}", target.quantization.reason)
    yield Decision("weight bits", *_REDUCED[target.quantization.reduce_range])
    yield from _placement(nodes)
    yield Decision("ranges", config.ranges, _RANGES[config.ranges])
    yield from _options(config)
    if target.untested:
        yield Decision("target", f"{target.name} is untested", "its rules are from the provider's documentation")


def _placement(nodes: tuple[NodePlan, ...]) -> Iterator[Decision]:
    integer = [node for node in nodes if node.precision != "float"]
    yield Decision(
        "placement",
        f"{len(integer)} of {len(nodes)} nodes on integers",
        "nodes that multiply by constant weights, and cheap ones between them",
    )
    floating = [node for node in integer if node.output == "float"]
    if floating:
        yield Decision(
            "outputs",
            f"{len(floating)} integer nodes output floats",
            "floating-point nodes read them, so rounding gains nothing",
        )


def _options(config: QuantizeConfig) -> Iterator[Decision]:
    if config.ranges == "auto":
        why = "tried for each matrix product, used where it gains 2 dB" if config.smooth else "switched off (smooth)"
        yield Decision("smoothing", "on trial" if config.smooth else "off", why)
    on = config.correct_bias
    why = "rounding weights shifts a layer's mean output; its bias takes that back" if on else "switched off (correct_bias)"
    yield Decision("bias correction", "on" if on else "off", why)
    on = config.embeddings
    why = "large tables read by Gather become int8, one scale per row" if on else "switched off (embeddings)"
    yield Decision("embedding tables", "int8 rows" if on else "float", why)
    if config.exclude:
        yield Decision("excluded", ", ".join(config.exclude), "named in the options (exclude)")
