"""The stage `quantize`: checked samples in, a quantized file and its facts out."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import DataError, RecipeError
from edgeopt.stages.quantize import run_quantize
from tests.stages.conftest import MakeJob

WEIGHTS = np.random.default_rng(0).standard_normal((4, 4))


def test_the_file_is_written_and_described(make_job: MakeJob) -> None:
    job = make_job({"import": WEIGHTS}, {}, target="x86-vnni")
    found = run_quantize(job)
    assert (job.workspace.output / "model.onnx").stat().st_size == found.size_bytes_after
    assert (found.samples, found.coverage.islands) == (8, ())


def test_a_training_keeps_its_state_where_a_killed_run_finds_it(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from edgeopt.quantize.training import stage

    train = {"time": 600, "steps": 1, "block_steps": 1}
    job = make_job({"import": WEIGHTS}, {}, target="x86-vnni", quantize={"train": train})
    job.workspace.checkpoint.mkdir(parents=True, exist_ok=True)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "train_whole", killed)
        run_quantize(job)
    state = job.workspace.checkpoint / "training.safetensors"
    assert state.is_file()
    assert not [path for path in job.workspace.output.iterdir() if "training" in path.name]
    run_quantize(job)
    assert not state.exists()


def test_a_drop_cannot_be_kept_without_labels(make_job: MakeJob) -> None:
    job = make_job({"import": WEIGHTS}, {}, quantize={"max_drop": 0.01})
    file = next(iter(job.inputs.values())).parent / "rows.npz"
    np.savez(file, x=np.eye(4, dtype=np.float32))
    with pytest.raises(RecipeError, match=r"quantize\.max_drop needs labels in the calibration split"):
        run_quantize(job)


def test_samples_that_are_wrong_end_it(make_job: MakeJob) -> None:
    job = make_job({"import": WEIGHTS}, {})
    rows = np.eye(4, dtype=np.float32)
    rows[2, 1] = np.nan
    np.savez(next(iter(job.inputs.values())).parent / "rows.npz", x=rows)
    with pytest.raises(DataError, match="sample 2, input 'x': holds nan"):
        run_quantize(job)
