"""What went in several rounds, as one result."""

from __future__ import annotations

from edgeopt.models.model_size import ModelSize
from edgeopt.prune.result import Allocation, LayerWidth, PruneFacts, joined

_SIZE = ModelSize(10, 40, 100)


def _round(before: int, after: int, whole: float) -> PruneFacts:
    widths = (LayerWidth("ffn", before, after, "neurons"),)
    return PruneFacts(_SIZE, _SIZE, widths, (), {}, Allocation("ms", whole, whole / 2, whole / 2, judged=3))


def test_widths_and_costs_run_from_the_first_round_to_the_last() -> None:
    both = joined(_round(64, 32, 8.0), _round(32, 16, 4.0))
    assert both.layers == (LayerWidth("ffn", 64, 16, "neurons"),)
    assert both.allocation == Allocation("ms", 8.0, 2.0, 2.0, judged=6)
