"""Second moments Σ xᵀx of what a language model's matrices are multiplied with, on windows of text.

Sums that take more than a gibibyte together are made in turns, each a pass over the text (`gptq.second_moments` does the
same for any model; here the inputs of a decoder are made from tokens, with the logits of all positions, so that the last
layer sees all).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.graph.exposed import ExposedModel
from edgeopt.graph.generation import Generation
from edgeopt.graph.matching import name_of
from edgeopt.quantize.algorithms.gptq import turns
from edgeopt.quantize.language.layers import find_layers
from edgeopt.quantize.language.text import Tokens, feeds

Moments = dict[str, NDArray[np.float64]]


def input_moments(model: ir.Model, facts: Generation, windows: list[Tokens], *, threads: int) -> Moments:
    """Return Σ xᵀx / positions of the input of each matrix, by the name of the tensor."""
    sizes = {name_of(layer.given): layer.weight().shape[1] for layer in find_layers(model)}
    made: Moments = {}
    for names in turns(sizes):
        made |= _sums(model, facts, {name: sizes[name] for name in names}, windows, threads)
    return made


def _sums(model: ir.Model, facts: Generation, sizes: dict[str, int], windows: list[Tokens], threads: int) -> Moments:
    exposed = ExposedModel(model, list(sizes), threads=threads)
    sums = {name: np.zeros((size, size)) for name, size in sizes.items()}
    with progress.task("second moments", total=len(windows)) as advance:
        for number, tokens in enumerate(windows):
            seen = exposed(feeds(facts, tokens[None]), sample=number)
            for name, size in sizes.items():
                rows = seen[name].reshape(-1, size).astype(np.float32, copy=False)
                sums[name] += rows.T @ rows
            advance()
    positions = sum(len(tokens) for tokens in windows)
    return {name: total / positions for name, total in sums.items()}
