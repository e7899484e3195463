"""Which layers float: moves, what they are worth, and where the search stops."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.quantize.search import balance
from edgeopt.quantize.search.balance import _moves, _Placed, _Search, _worth
from edgeopt.quantize.search.trials import LARGEST_BYTES

STREAM = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 4, 8, 8] x) => (float[n, 4, 8, 8] y) {
    a = Conv (x, w)
    b = Conv (a, w)
    s1 = Add (a, b)
    c = Conv (s1, w)
    s2 = Add (s1, c)
    d = Conv (s2, w)
    r = Relu (d)
    e = Conv (r, w)
    y = Add (x, e)
}
"""


@pytest.fixture
def nodes() -> list[ir.Node]:
    model = onnx.parser.parse_model(STREAM)
    for node in model.graph.node:
        node.name = node.output[0]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w"))
    return list(ir.from_proto(model).graph)


def test_layers_move_alone_in_chains_and_additions_along_their_stream(nodes):
    moves = set(_moves(nodes))
    assert {frozenset({"a"}), frozenset({"d", "r", "e"}), frozenset({"y"})} <= moves
    assert frozenset({"s1", "s2"}) in moves  # one reads the other
    assert frozenset({"s1", "s2", "y"}) in moves  # all


def placed(us: float, db: float) -> _Placed:
    return _Placed(frozenset({f"{us} {db}"}), {}, us, frozenset(), db)


def test_what_is_beyond_the_goal_is_worth_nothing():
    before = placed(100.0, 25.0)
    assert _worth(before, placed(102.0, 26.0), 100.0) == pytest.approx(0.5)
    assert _worth(before, placed(102.0, 36.0), 100.0) == pytest.approx(0.5)


class Tried(_Search):
    """A search with costs and noises that are given: each move takes some microseconds and removes some noise."""

    def __init__(self, moves: dict[str, tuple[float, float]], rest: float, floating_us: float) -> None:
        self._moves = [frozenset({name}) for name in moves]
        self._given, self._rest = moves, rest
        self._times = SimpleNamespace(us=lambda integer: floating_us)

    def placed(self, floating):
        return _Placed(floating, {}, 100.0 + sum(self._given[name][0] for name in floating))

    def known(self, placed):
        noise = self._rest + sum(noise for name, (_, noise) in self._given.items() if name not in placed.floating)
        return replace(placed, db=-10 * np.log10(noise))

    def _noisiest(self, placed):
        return [move for move in self._moves if not move <= placed.floating]


def found(moves, rest=1e-3, floating_us=200.0):
    search = Tried(moves, rest, floating_us)
    return set(search.more_exact(search.known(search.placed(frozenset()))).floating)


def test_the_most_noise_per_microsecond_goes_first_until_the_goal_is_reached():
    moves = {"cheap": (1.0, 4e-3), "dear": (10.0, 5e-3), "little": (5.0, 1e-4)}
    assert found(moves) == {"cheap", "dear"}
    assert found({**moves, "dear": (10.0, 1e-3)}) == {"cheap"}  # 25 dB are reached, and a percent buys too little


def test_accuracy_never_takes_all_the_time_that_integers_save():
    moves = {"cheap": (1.0, 4e-3), "dear": (10.0, 5e-3)}
    assert found(moves, floating_us=112.0) == {"cheap"}


def test_below_the_floor_any_price_is_paid():
    assert found({"dear": (90.0, 0.9)}, floating_us=110.0) == {"dear"}


def test_a_large_model_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(balance.files, "weights_bytes", lambda model: LARGEST_BYTES + 1)
    said = balance.too_large(ir.Model(ir.Graph([], [], nodes=[]), ir_version=10))
    assert said is not None and said.choice == "not searched for" and "200 MB" in said.reason
