from __future__ import annotations

import pytest

from edgeopt.quantize.language.config import LanguageTrainingOptions


def test_layers_and_scales_share_the_time_and_have_a_file_each(tmp_path):
    options = LanguageTrainingOptions(time=100.0, whole_share=0.75, checkpoint=tmp_path / "state")
    layers, scales = options.of_layers(), options.of_scales()
    assert (layers.time, scales.time) == pytest.approx((25.0, 75.0))
    assert layers.checkpoint == tmp_path / "state"
    assert scales.checkpoint != layers.checkpoint
    for path in (layers.checkpoint, scales.checkpoint):
        path.touch()
    options.remove_checkpoints()
    assert not list(tmp_path.iterdir())


def test_without_a_file_there_is_none_for_either():
    options = LanguageTrainingOptions()
    assert options.of_layers().checkpoint is options.of_scales().checkpoint is None
    options.remove_checkpoints()
