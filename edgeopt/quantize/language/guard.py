"""The guard against flipped tokens: activations rounded to 8 bits may change which token comes first.

Prompts are continued greedily by the same file at accuracy level 4, which has the fast kernels, and at level 0 (activations in
floating point). Where the texts part and the choice was not close to a tie, the decoder layer is looked for whose level 0 alone
brings the logits back most, and its weights are kept at 8 bits, which leaves the rounding of activations more room
(https://github.com/microsoft/onnxruntime/issues/29849).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeopt import progress
from edgeopt.graph.cached_decoder import CachedDecoder, greedy
from edgeopt.graph.editing import copied
from edgeopt.graph.generation import Generation
from edgeopt.graph.matching import name_of
from edgeopt.graph.session import SessionConfig, open_model
from edgeopt.quantize.language.text import Tokens

STEPS = 24
_TIE = 0.25
"""Lead in logits below which two tokens count as equally likely."""
_MOST = 3
"""Layers that the guard lifts at most."""


@dataclass(frozen=True)
class Flip:
    """A prompt whose continuations part: the text before, and the lead of the choice at level 0."""

    text: Tokens
    lead: float


@dataclass(frozen=True)
class Guarded:
    """What the guard saw and did."""

    prompts: int
    equal: int
    ties: int
    lifted: tuple[str, ...]


def at_level(model: ir.Model, level: int, names: Sequence[str] | None = None) -> ir.Model:
    """Return a copy whose products by blocks (those called `names`, or all) have that accuracy level."""
    made = copied(model)
    for node in made.graph:
        if node.op_type == "MatMulNBits" and (names is None or name_of(node) in names):
            node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", level)
    return made


def find_flips(model: ir.Model, facts: Generation, prompts: list[Tokens], *, threads: int) -> tuple[list[Flip], int]:
    """Return the prompts whose texts part at the two levels, near ties apart; and how many are equal."""
    config = SessionConfig(threads=threads)
    fast, exact = open_model(model, config=config), open_model(at_level(model, 0), config=config)
    flips, equal = [], 0
    with progress.task("guard: greedy texts at both levels", total=len(prompts)) as advance:
        for prompt in prompts:
            steps = min(STEPS, facts.context - len(prompt))
            tokens, leads = greedy(exact, facts, prompt, steps=steps)
            others, _ = greedy(fast, facts, prompt, steps=steps)
            place = next((index for index in range(steps) if tokens[index] != others[index]), None)
            if place is None:
                equal += 1
            else:
                flips.append(Flip(np.concatenate([prompt, np.array(tokens[:place], np.int64)]), leads[place]))
            advance()
    return flips, equal


def guard(
    bits: dict[str, int],
    groups: dict[str, list[str]],
    facts: Generation,
    prompts: list[Tokens],
    *,
    build: Callable[[dict[str, int]], ir.Model],
    threads: int,
) -> tuple[Guarded, dict[str, int]]:
    """Lift the layers that flip tokens to 8 bits; return what was seen at the end, and the bits."""
    chosen: list[str] = []
    while True:
        model = build(bits)
        flips, equal = find_flips(model, facts, prompts, threads=threads)
        real = [flip for flip in flips if flip.lead >= _TIE]
        left = {group: names for group, names in groups.items() if any(bits.get(name) == 4 for name in names)}
        if not real or not left or len(chosen) == _MOST:
            return Guarded(len(prompts), equal, len(flips) - len(real), tuple(chosen)), bits
        worst = _culprit(model, facts, real, left, threads)
        chosen.append(worst)
        bits = bits | dict.fromkeys(groups[worst], 8)


def _culprit(model: ir.Model, facts: Generation, flips: list[Flip], groups: dict[str, list[str]], threads: int) -> str:
    """Return the group whose products at level 0 bring the logits of the flipped choices nearest to all at level 0."""

    def logits(at: ir.Model) -> list[np.ndarray]:
        session = open_model(at, config=SessionConfig(threads=threads))
        return [CachedDecoder(session, facts, len(flip.text)).read(flip.text)[-1] for flip in flips]

    exact = logits(at_level(model, 0))
    distances = {}
    with progress.task("guard: layers that flip tokens", total=len(groups)) as advance:
        for group, names in groups.items():
            found = logits(at_level(model, 0, names))
            distances[group] = sum(float(np.square(a - b).mean()) for a, b in zip(exact, found, strict=True))
            advance()
    return min(distances, key=lambda group: distances[group])
