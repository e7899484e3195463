"""Models called by input names: logits, hidden states, and outputs of every form by name."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.models.call import call, named_outputs, predict, tensors_of, to_tensors

X = torch.tensor([[1.0, -2.0]])
Pair = namedtuple("Pair", ["first", "second"])


class Giving(nn.Module):
    """Returns what `make` makes of its input."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        return self.make(x)


class Pretrained(nn.Module):
    """Behaves like a model of transformers, and records how it was called."""

    config = object()

    def save_pretrained(self, folder: str) -> None: ...

    def forward(self, x: Tensor, **options: bool) -> dict[str, Any]:
        self.options = options
        hidden = [x + 1, x + 2] if options.get("output_hidden_states") else None
        return {"logits": 2 * x, "hidden_states": hidden}


def test_a_tensor_is_the_logits() -> None:
    found = call(Giving(lambda x: x * 3), {"x": X})
    assert found.logits.tolist() == [[3.0, -6.0]] and found.hidden == ()


def test_a_transformers_model_gives_hidden_states_when_they_are_asked_for() -> None:
    model = Pretrained()
    assert call(model, {"x": X}).hidden == ()
    assert model.options == {"output_hidden_states": False, "return_dict": True}
    found = call(model, {"x": X}, hidden=True)
    assert found.logits.tolist() == [[2.0, -4.0]]
    assert [state.tolist() for state in found.hidden] == [[[2.0, -1.0]], [[3.0, 0.0]]]


def test_a_module_with_a_configuration_of_its_own_is_called_as_any_other() -> None:
    model = Giving(lambda x: x * 3)
    model.config = {"width": 2}  # type: ignore[assignment]
    assert call(model, {"x": X}).logits.tolist() == [[3.0, -6.0]]
    assert list(named_outputs(model, {"x": X})) == ["logits"]


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(ModelError, match="Giving returns tuple; a classifier must return its logits as one tensor"):
        call(Giving(lambda x: (x, x)), {"x": X})
    with pytest.raises(ModelError, match="Linear returns no hidden states"):
        call(nn.Linear(2, 2), {"input": X}, hidden=True)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda x: x, ["logits"]),
        (lambda x: (x, x), ["output_0", "output_1"]),
        (lambda x: [x, None, x], ["output_0", "output_2"]),
        (lambda x: Pair(x, x), ["first", "second"]),
        (lambda x: {"boxes": x, "count": 3, 7: x}, ["boxes", "7"]),
    ],
)
def test_outputs_are_named_by_their_form(make: Any, names: list[str]) -> None:
    found = named_outputs(Giving(make), {"x": X})
    assert list(found) == names
    assert all(torch.equal(value, X) for value in found.values())


def test_a_transformers_model_is_asked_for_its_outputs_by_name() -> None:
    model = Pretrained()
    assert list(named_outputs(model, {"x": X})) == ["logits"]
    assert model.options == {"return_dict": True}


@pytest.mark.parametrize("given", [None, 3, [], {"a": 1}])
def test_outputs_without_tensors_are_refused(given: Any) -> None:
    with pytest.raises(ModelError, match=f"Giving returns {type(given).__name__ if given != [] else 'dict'} without tensors"):
        named_outputs(Giving(lambda x: given), {"x": X})


def test_tensors_come_out_of_any_nesting_in_order() -> None:
    one, two, three = (torch.full((1,), float(number)) for number in (1, 2, 3))
    assert [float(value) for value in tensors_of({"a": one, "b": [(two, None), {"c": three}], "d": "text"})] == [1, 2, 3]
    assert list(tensors_of(None)) == []


def test_arrays_become_tensors_of_their_type_whatever_their_order_in_memory() -> None:
    turned = np.arange(6, dtype=np.int64).reshape(2, 3).T
    found = to_tensors({"ids": turned, "x": np.ones(2, np.float32)})
    assert found["ids"].tolist() == [[0, 3], [1, 4], [2, 5]] and found["ids"].dtype == torch.int64
    assert found["ids"].is_contiguous() and found["x"].dtype == torch.float32


def test_a_prediction_is_float32_without_dropout_and_without_gradients() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Identity()).train()
    model.forward = lambda x: nn.Sequential.forward(model, x.half())  # type: ignore[method-assign]
    found = predict(model, {"x": np.full((1, 64), 2.0, np.float32)})
    assert found.dtype == np.float32 and (found == 2.0).all()
    assert not model.training
