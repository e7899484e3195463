"""What goes wrong in a training is said in one line, and the last good checkpoint stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeopt.data.samples import from_arrays
from edgeopt.errors import MachineError, ModelError, RecipeError
from edgeopt.train.config import TrainOptions
from edgeopt.train.faults import memory_advice
from edgeopt.train.loop import Session, fit

_OPTIONS = TrainOptions(epochs=4.0, batch_size=4, learning_rate=1e-3, checkpoint_seconds=0.0)


def samples():  # type: ignore[no-untyped-def]
    return from_arrays({"input": np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)})


def test_a_loss_that_is_not_finite_names_step_and_part(tmp_path: Path) -> None:
    model, steps = nn.Linear(3, 1), [0]

    def loss(trained: nn.Module, inputs: Mapping[str, Tensor], indices: Sequence[int]) -> Tensor:
        steps[0] += 1
        value = trained(**inputs).square().mean()
        return value * float("nan") if steps[0] == 7 else value

    with pytest.raises(RecipeError, match=r"the loss 'loss' is nan at step 7; lower train.learning_rate.*last good checkpoint"):
        fit(model, samples(), loss, options=_OPTIONS, session=Session(0, tmp_path))
    assert (tmp_path / "training.safetensors").is_file()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters()), "the weights were changed by a nan"
    steps[0] = 100
    assert fit(nn.Linear(3, 1), samples(), loss, options=_OPTIONS, session=Session(0, tmp_path)).resumed_from_step == 6


def test_an_infinite_gradient_is_named_before_it_reaches_the_weights() -> None:
    model = nn.Linear(3, 1)
    before = model.weight.detach().clone()

    def loss(trained: nn.Module, inputs: Mapping[str, Tensor], indices: Sequence[int]) -> Tensor:
        return (trained(**inputs) * 0).sqrt().sum()  # 0, with a gradient of 0 · inf

    with pytest.raises(RecipeError, match="the gradient is nan at step 1, with a finite loss"):
        fit(model, samples(), loss, options=_OPTIONS)
    assert torch.equal(model.weight, before)


_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(_NO_MEMORY), torch.OutOfMemoryError("x")])
def test_too_little_memory_proposes_an_accumulation(error: Exception) -> None:
    said = r"out of memory at batch size 4 with accumulation 1; set train\.accumulation=2"
    with pytest.raises(MachineError, match=said), memory_advice(_OPTIONS):
        raise error
    single = _OPTIONS.model_copy(update={"accumulation": 4})
    with pytest.raises(MachineError, match="a single sample does not fit"), memory_advice(single):
        raise error


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_advice(_OPTIONS):
        raise RuntimeError("shapes cannot be multiplied")


def test_a_token_without_an_embedding_is_said_and_other_faults_are_not_hidden() -> None:
    with pytest.raises(ModelError, match="token numbers beyond a model's vocabulary"), memory_advice(_OPTIONS):
        torch.nn.Embedding(4, 2)(torch.tensor([5]))
    with pytest.raises(IndexError, match="list index"), memory_advice(_OPTIONS):
        raise IndexError("list index out of range")
