from __future__ import annotations

from edgeopt.quantize.training.end_to_end import train_whole
from edgeopt.quantize.training.run import TrainingRun, held_db


def test_network_is_left_in_its_best_state(residual_run: TrainingRun) -> None:
    before = held_db(residual_run)
    assert train_whole(residual_run, seconds=600, start=before) == 20
    assert held_db(residual_run) > before


def test_state_stays_where_nothing_is_gained(residual_run: TrainingRun) -> None:
    before = {name: value.clone() for name, value in residual_run.module.state_dict().items()}
    train_whole(residual_run, seconds=600, start=1000.0)
    assert all((value == before[name]).all() for name, value in residual_run.module.state_dict().items())
