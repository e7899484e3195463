"""Values of inner tensors for given inputs: what masks and rotary angles are, whatever operators compute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Array
from edgeopt.graph.editing import copied, remove_unused
from edgeopt.graph.matching import by_name, name_of
from edgeopt.graph.session import SessionConfig, open_model


class Computation:
    """The part of a model that computes `values`; the inputs that it reads are `inputs`."""

    def __init__(self, model: ir.Model, values: Sequence[ir.Value]) -> None:
        part = copied(model)
        graph = part.graph
        known = by_name(graph)
        graph.outputs.clear()
        graph.outputs.extend(known[name_of(value)] for value in dict.fromkeys(values))
        remove_unused(part)
        graph.inputs[:] = [value for value in graph.inputs if value.uses() or value.is_graph_output()]
        self.inputs = {name_of(value): value for value in graph.inputs}
        self._names = [name_of(value) for value in values]
        self._session = open_model(part, config=SessionConfig(threads=1, optimization="none"))

    def __call__(self, given: Mapping[str, Array]) -> list[Array]:
        """Return the values; `given` may have more inputs than are read."""
        found = self._session.run(self._names, {name: given[name] for name in self.inputs})
        return [np.asarray(array) for array in found]
