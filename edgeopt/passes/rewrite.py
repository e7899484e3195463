"""What every pass is: a rewrite in place that preserves the function and counts what it rewrote."""

from __future__ import annotations

from abc import abstractmethod

import onnx_ir as ir


class Rewrite(ir.passes.InPlacePass):
    """A pass of this folder; `count` says how many nodes (or what its docstring says) the last call rewrote."""

    count = 0

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` wherever the pass applies."""
        self.count = self.rewrite(model)
        return ir.passes.PassResult(model, modified=self.count > 0)

    @abstractmethod
    def rewrite(self, model: ir.Model) -> int:
        """Rewrite `model`, and return how often."""
