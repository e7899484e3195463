"""Several processes, and several micro-batches, give the result of one: every sum is divided by the global count."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgeopt.train.processes import shares, total_counts

_PROGRAM = """
import sys
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.train.config import TrainOptions
from edgeopt.train.loop import Session, fit


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x, mask):
        return self.second(torch.tanh(self.first(x)))


@dataclass
class Objective:
    learned: nn.Module = None
    weights: dict = field(default_factory=lambda: {"tokens": 1.0, "samples": 0.5})

    def counts(self, batch):
        return {"tokens": float(batch.inputs["mask"].sum()), "samples": float(len(batch))}

    def sums(self, model, batch):
        logits, mask = model(**batch.inputs), batch.inputs["mask"]
        target = batch.inputs["x"].sum(-1).gt(0).long()
        tokens = nn.functional.cross_entropy(logits.movedim(-1, 1), target, reduction="none")
        return {"tokens": (tokens * mask).sum(), "samples": (logits[:, 0] ** 2).mean(-1).sum()}


def read(index):
    generator = np.random.default_rng(index)
    length = int(generator.integers(1, 12))
    return {"x": generator.standard_normal((length, 4)).astype(np.float32), "mask": np.ones(length, np.float32)}


accumulation, output, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
model = Tokens()
options = TrainOptions(epochs=3.0, batch_size=7, accumulation=accumulation, learning_rate=0.02, checkpoint_seconds=0.0)
from pathlib import Path
from types import SimpleNamespace
result = fit(model, Samples(25, read, None, "x"), Objective(), options=options, session=Session(1, Path(folder)))
import os
if os.environ.get("RANK", "0") == "0":
    save_file({**model.state_dict(), "losses": torch.tensor([epoch.loss for epoch in result.history])}, output)
"""


def run(tmp_path: Path, name: str, *, accumulation: int = 1, processes: int = 1) -> dict[str, torch.Tensor]:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    root = str(Path(__file__).resolve().parents[2])
    started = []
    for rank in range(processes):
        environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        if processes > 1:
            ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
            environment |= {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                **{key: str(value) for key, value in ranks.items()},
            }
        command = [sys.executable, str(program), str(accumulation), str(tmp_path / name), str(tmp_path / f"{name}-folder")]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        for process in started:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors[-2000:]
    finally:
        for process in started:
            process.kill()
    return load_file(tmp_path / name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return run(tmp_path_factory.mktemp("alone"), "alone")


@pytest.mark.parametrize(("accumulation", "processes"), [(3, 1), (1, 2), (2, 2)])
def test_the_same_global_batch_gives_the_same_result(
    tmp_path: Path, alone: dict[str, torch.Tensor], accumulation: int, processes: int
) -> None:
    split = run(tmp_path, "split", accumulation=accumulation, processes=processes)
    for name, tensor in alone.items():
        assert np.allclose(tensor, split[name], rtol=2e-4, atol=2e-5), f"{name}: {(tensor - split[name]).abs().max():.2e}"
    moved = load_file(tmp_path / "split-folder" / "training.safetensors")
    assert moved["random"].ndim == (2 if processes > 1 else 1), "the random state of each process is kept"


@pytest.mark.parametrize(("processes", "micro_batches"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_pairs_stay_in_one_share(processes: int, micro_batches: int) -> None:
    indices = [6, 7, 0, 1, 12, 13, 4, 5, 10, 11]
    found = []
    for process in range(processes):
        accelerator = SimpleNamespace(process_index=process, num_processes=processes)
        found += shares(indices, accelerator, micro_batches, group=2)  # type: ignore[arg-type]
    assert sorted(index for share in found for index in share) == sorted(indices)
    assert all(index ^ 1 in share for share in found for index in share)


def test_a_process_without_samples_counts_nothing() -> None:
    assert total_counts([], ["hard", "soft"], SimpleNamespace(num_processes=1)) == {"hard": 0.0, "soft": 0.0}
