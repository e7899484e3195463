from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeopt.quantize.output_parts import Part
from edgeopt.quantize.training import run
from edgeopt.quantize.training.run import TrainingRun, held_db, targets, tensors


def test_targets_are_the_floating_point_model_s_outputs_and_samples_own_their_memory(residual_run: TrainingRun) -> None:
    sample = residual_run.data.held[0]
    exact = residual_run.teacher.run(["y"], dict(sample))[0]
    np.testing.assert_array_equal(targets(residual_run, sample)["y"].numpy(), exact)
    given = tensors(sample)["x"]
    given += 1
    assert not np.array_equal(given.numpy(), sample["x"])


def test_held_aside_samples_are_compared_in_decibels(residual_run: TrainingRun) -> None:
    signal = noise = 0.0
    for sample in residual_run.data.held:
        exact = residual_run.teacher.run(["y"], dict(sample))[0]
        made = residual_run.module(tensors(sample))["y"].detach().numpy()
        signal, noise = signal + float((exact**2).sum()), noise + float(((exact - made) ** 2).sum())
    np.testing.assert_allclose(held_db(residual_run), 10 * np.log10(signal / noise), rtol=1e-4)


@pytest.mark.parametrize(("seconds", "steps", "count"), [(1e-6, None, 4), (1e6, None, 10), (1e-6, 5, 10)])
def test_fewer_samples_are_held_aside_where_there_is_no_time_to_look_at_them(
    residual_run: TrainingRun, seconds: float, steps: int | None, count: int
) -> None:
    data = run.Split(residual_run.data.training, residual_run.data.training[:10])
    options = residual_run.options.model_copy(update={"time": seconds, "steps": steps})
    timed = run.timed(dataclasses.replace(residual_run, data=data, options=options))
    assert len(timed.data.held) == count
    assert timed.forward_s > 0


def test_the_worst_part_of_the_outputs_counts(residual_run: TrainingRun) -> None:
    halves = tuple(Part("y", 1, channels) for channels in ((0, 1), (2, 3)))
    parted = dataclasses.replace(residual_run, parts=halves)
    each = [held_db(dataclasses.replace(residual_run, parts=(half,))) for half in halves]
    assert held_db(parted) == min(each) < held_db(residual_run) < max(each)
    assert parted.compared(["s", "y"]) == [Part("s"), *halves]
