"""Checkpoints: what is saved comes back, and what is damaged or of another training is not used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgeopt.train.checkpoint import (
    Progress,
    Trained,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    weights_hash,
)


def trained(optimizer: str, *, seed: int, learned: bool = True) -> Trained:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2).to(torch.bfloat16))
    extra = nn.Linear(3, 5) if learned else None
    parameters = [*model.parameters(), *(extra.parameters() if extra else ())]
    kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
    options = {"momentum": 0.9} if optimizer != "adamw" else {}
    return Trained(model, kinds[optimizer](parameters, lr=0.1, **options), extra)


def step(state: Trained) -> float:
    """Take one step on random inputs, so that the random state matters; return its loss."""
    first, norm, last = state.model
    hidden = norm(first(torch.randn(8, 4)))
    loss = last(hidden.to(torch.bfloat16)).float().square().mean()
    if state.learned is not None:
        loss = loss + state.learned(hidden).square().mean()
    state.optimizer.zero_grad()
    loss.backward()
    state.optimizer.step()
    return loss.item()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("learned", [True, False])
def test_what_is_saved_goes_on_as_if_never_stopped(tmp_path: Path, optimizer: str, learned: bool) -> None:
    first = trained(optimizer, seed=0, learned=learned)
    for _ in range(3):
        step(first)
    state = Progress(3, 1.5, 3, [{"epoch": 1}], {"hard": 1.5}, [{"step": 2}], 2, -0.5, 7.25)
    save_checkpoint(tmp_path / "c.safetensors", first, state, key="k")
    expected = [step(first) for _ in range(3)]

    other = trained(optimizer, seed=1, learned=learned)
    assert load_checkpoint(tmp_path / "c.safetensors", other, key="k") == state
    assert [step(other) for _ in range(3)] == expected
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name


def test_each_process_gets_its_own_random_state(tmp_path: Path) -> None:
    states = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        states.append(torch.get_rng_state())
    save_checkpoint(tmp_path / "c", trained("sgd", seed=0), Progress(), random=torch.stack(states))
    drawn = []
    for process in (0, 1, 2):
        load_checkpoint(tmp_path / "c", trained("sgd", seed=0), process=process)
        drawn.append(float(torch.rand(())))
    torch.manual_seed(6)
    assert drawn[1] == float(torch.rand(()))
    assert drawn[0] == drawn[2] != drawn[1]  # more processes than before share them


def test_none_of_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr("edgeopt.progress.note", notes.append)
    assert load_checkpoint(tmp_path / "none", trained("sgd", seed=0)) is None and notes == []
    save_checkpoint(tmp_path / "c", trained("sgd", seed=0), Progress(4), key="mine")
    other = trained("sgd", seed=1)
    before = weights_hash(other.model)
    assert load_checkpoint(tmp_path / "c", other, key="yours") is None
    assert weights_hash(other.model) == before
    assert notes == [
        f"{tmp_path / 'c'}: of another training (other model, data or options); this one starts from the beginning"
    ]


def test_no_flipped_bit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr("edgeopt.progress.note", notes.append)
    file = tmp_path / "c"
    save_checkpoint(file, trained("adamw", seed=0), Progress(4))
    whole = file.read_bytes()
    places = range(8, len(whole), 97)  # header, metadata and tensors
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert load_checkpoint(file, trained("adamw", seed=0)) is None, place
    assert len(notes) == len(places) and all("the training starts again" in note for note in notes)


def test_weights_come_back_with_their_types_and_tied_ones_twice(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.embedding = nn.Embedding(4, 3)
            self.head = nn.Linear(3, 4, bias=False)
            self.head.weight = self.embedding.weight
            self.scale = nn.Parameter(torch.full((2,), value, dtype=torch.bfloat16))

    torch.manual_seed(0)
    first, second = Tied(1.5), Tied(2.5)
    assert weights_hash(first) != weights_hash(second)
    save_weights(tmp_path / "w", first)
    load_weights(tmp_path / "w", second)
    assert weights_hash(first) == weights_hash(second)
    assert second.head.weight is second.embedding.weight and second.scale.dtype is torch.bfloat16
