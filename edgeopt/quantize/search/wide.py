"""16-bit activations where 8 bits lose too much, on targets whose kernels take them beside 8-bit weights (A16W8).

Every rounded activation is tried alone; the worst are widened, as few as it takes for the joint noise of the others to stay
below the limit. (Noises of single roundings do not add up to the joint noise: behind Softmax and LayerNormalization they
amplify each other, on a text encoder by 10 dB. So the joint noise is measured, log2 of the count times.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.graph.matching import activations, by_name, constant, names_of, own_consumers
from edgeopt.quantize.apply.gates import Gate, Gated
from edgeopt.quantize.plan.placement import MOVING
from edgeopt.quantize.plan.plan import IntegerType, Plan, TensorPlan
from edgeopt.quantize.search.prefix import smallest_prefix
from edgeopt.targets.target import Rules

_WIDE: dict[IntegerType, IntegerType] = {"uint8": "uint16", "int8": "int16"}


def widen(model: ir.Model, plan: Plan, samples: Sequence[Batch], rules: Rules, *, goal_db: float, threads: int) -> Plan:
    """Return the plan with 16 bits for the fewest activations that bring the others' noise at the outputs below `goal_db`.

    Args:
        model: prepared and smoothed, floating point.
        plan: with 8-bit activations.
        samples: a few batches; each activation takes one run on each.
        rules: of the target; `rules.wide` names the operators that take 16 bits.
        goal_db: SQNR of the outputs, counting activations only.
        threads: for inference.
    """
    tried = [tensor for tensor in plan.tensors if tensor.follows is None and tensor.dtype in _WIDE]
    if not tried:
        return plan
    gated = Gated(
        model,
        [Gate(tensor.name, tensor, symmetric=plan.scheme.symmetric_activation) for tensor in tried],
        samples,
        threads=threads,
    )
    names = {tensor.name for tensor in tried}
    joint = before = gated.sqnr_db(names)
    chosen: set[str] = set()
    if before < goal_db:
        able = names & _able(model, rules)
        alone = gated.of_each(able)
        order = sorted(able, key=lambda name: (alone[name], name))
        count = smallest_prefix(len(order), lambda count: gated.sqnr_db(names - set(order[:count])) >= goal_db)
        chosen = set(order if count is None else order[:count])
        joint = gated.sqnr_db(names - chosen)
    tensors = tuple(_widened(tensor) if {tensor.name, tensor.follows} & chosen else tensor for tensor in plan.tensors)
    reason = (
        f"8-bit activations give outputs of {before:.1f} dB, with these {joint:.1f} dB; {goal_db:g} dB are wanted (wide_db)"
    )
    return replace(plan, tensors=tensors).decided("16-bit activations", f"{len(chosen)} of {len(tried)}", reason)


def widen_layers(model: ir.Model, plan: Plan, layers: Sequence[str], rules: Rules) -> Plan:
    """Return the plan with 16 bits for what the nodes called `layers` read and give, where all around take that."""
    able, named = _able(model, rules), set(layers)
    around = {name for node in model.graph if node.name in named for name in names_of((*activations(node), *node.outputs))}
    chosen = around & able
    tensors = tuple(
        _widened(tensor) if tensor.dtype in _WIDE and {tensor.name, tensor.follows} & chosen else tensor
        for tensor in plan.tensors
    )
    return replace(plan, tensors=tensors)


def _widened(tensor: TensorPlan) -> TensorPlan:
    return replace(tensor, dtype=_WIDE[tensor.dtype])


def _able(model: ir.Model, rules: Rules) -> set[str]:
    """Return the activations whose producer and consumers all take 16 bits."""
    allowed = set(rules.wide) | MOVING
    able = set()
    for name, value in by_name(model.graph).items():
        producer, readers = value.producer(), own_consumers(value, model.graph)
        around = [*([producer] if producer is not None else []), *readers]
        if constant(value) is None and all(node.op_type in allowed for node in around):
            able.add(name)
    return able
