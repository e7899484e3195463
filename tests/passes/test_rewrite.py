"""A pass counts what it rewrote, and is modified by that."""

import onnx
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.passes.rewrite import Rewrite


class Rename(Rewrite):
    """Renames the nodes called `old`."""

    def rewrite(self, model):
        found = [node for node in model.graph if node.name == "old"]
        for node in found:
            node.name = "new"
        return len(found)


def test_a_pass_is_modified_by_what_it_counts():
    model = as_ir(onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (float[n] y) { [old] a = Relu (x) [old] y = Neg (a) }'
    ))  # fmt: skip
    rename = Rename()
    first = rename(model)
    assert (first.model, first.modified, rename.count) == (model, True, 2)
    assert (rename(model).modified, rename.count) == (False, 0)


def test_a_pass_must_say_what_it_does():
    with pytest.raises(TypeError, match="abstract"):
        Rewrite()
