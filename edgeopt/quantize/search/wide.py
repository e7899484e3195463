"""16-bit activations where 8 bits lose too much, on targets whose kernels take them beside 8-bit weights (A16W8).

Every rounded activation is tried alone; the worst are widened, as few as it takes for the joint noise of the others to stay
below the limit. (Noises of single roundings do not add up to the joint noise: behind Softmax and LayerNormalization they
amplify each other, on a text encoder by 10 dB. So the joint noise is measured, log2 of the count times.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.graph.matching import activations, by_name, constant, names_of, own_consumers
from edgeopt.quantize.apply.gates import Gate, Gated
from edgeopt.quantize.plan.placement import MOVING
from edgeopt.quantize.plan.plan import IntegerType, Plan
from edgeopt.quantize.plan.shared_ranges import leader_of
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
    names, leaders = {tensor.name for tensor in tried}, _leaders(plan)
    joint = before = gated.sqnr_db(names)
    chosen: set[str] = set()
    if before < goal_db:
        able = names & _able(model, leaders, rules)
        alone = gated.of_each(able)
        order = sorted(able, key=lambda name: (alone[name], name))
        count = smallest_prefix(len(order), lambda count: gated.sqnr_db(names - set(order[:count])) >= goal_db)
        chosen = set(order if count is None else order[:count])
        joint = gated.sqnr_db(names - chosen)
    reason = (
        f"8-bit activations give outputs of {before:.1f} dB, with these {joint:.1f} dB; {goal_db:g} dB are wanted (wide_db)"
    )
    return _widened(plan, leaders, chosen).decided("16-bit activations", f"{len(chosen)} of {len(tried)}", reason)


def widen_layers(model: ir.Model, plan: Plan, layers: Sequence[str], rules: Rules) -> Plan:
    """Return the plan with 16 bits for what the nodes called `layers` read and give, where all around take that."""
    leaders, named = _leaders(plan), set(layers)
    around = {name for node in model.graph if node.name in named for name in names_of((*activations(node), *node.outputs))}
    chosen = {leaders[name] for name in around & leaders.keys()} & _able(model, leaders, rules)
    return _widened(plan, leaders, chosen)


def _leaders(plan: Plan) -> dict[str, str]:
    """Return the tensor whose range each one takes: itself, or the one that has the same values."""
    ranges = {tensor.name: tensor for tensor in plan.tensors}
    return {name: leader_of(name, ranges) for name in ranges}


def _widened(plan: Plan, leaders: Mapping[str, str], chosen: Set[str]) -> Plan:
    """Return the plan with 16 bits for the chosen tensors, and for those that have their values."""
    return replace(
        plan,
        tensors=tuple(
            replace(tensor, dtype=_WIDE.get(tensor.dtype, tensor.dtype)) if leaders[tensor.name] in chosen else tensor
            for tensor in plan.tensors
        ),
    )


def _able(model: ir.Model, leaders: Mapping[str, str], rules: Rules) -> set[str]:
    """Return the leaders of activations whose producers and consumers all take 16 bits, those of their followers included."""
    allowed = set(rules.wide) | MOVING
    values, able = by_name(model.graph), set(leaders.values())
    for name in leaders.keys() & values.keys():
        value = values[name]
        around = [value.producer(), *own_consumers(value, model.graph)]
        if constant(value) is not None or any(node is not None and node.op_type not in allowed for node in around):
            able.discard(leaders[name])
    return able
