"""Rows of the table of families: when one holds, tiny models that are always the same, and exports that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export import proof
from edgeopt.export.proof import Row, prove, tiny_model
from edgeopt.export.registry import load_family
from edgeopt.targets.target import load_target


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        ({"exports": False, "greedy": True}, False),
        ({"exports": True}, True),
        ({"exports": True, "greedy": True}, True),
        ({"exports": True, "greedy": False}, False),
        ({"exports": True, "greedy": False, "shortfall": 1e-9}, False),  # float32 has no ties by rounding
        ({"exports": True, "greedy": False, "shortfall": 0.01, "dtype": "float16"}, True),
        ({"exports": True, "greedy": False, "shortfall": 0.011, "dtype": "float16"}, False),
        ({"exports": False, "greedy": False, "shortfall": 0.0, "dtype": "float16"}, False),
    ],
)
def test_a_row_holds_if_the_text_is_pytorchs_but_for_ties_by_rounding(row: dict[str, Any], holds: bool) -> None:
    assert Row("family", "task", **row).holds is holds


def test_a_tiny_model_is_the_same_each_time_whatever_was_drawn_before() -> None:
    family = load_family("bert")
    one = tiny_model(family, "text-classification")
    torch.rand(7)
    two = tiny_model(family, "text-classification")
    assert not one.training and type(one).__name__ == "BertForSequenceClassification"
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_its_weights_are_large_enough_to_make_the_input_count() -> None:
    model = tiny_model(load_family("bert"), "text-classification")
    weight = model.bert.encoder.layer[0].intermediate.dense.weight.detach()  # 64 × 32
    assert float(weight.std()) == pytest.approx(32**-0.5, rel=0.1)
    norm = model.bert.encoder.layer[0].output.LayerNorm.weight.detach()
    assert float((norm - 1).std()) == pytest.approx(0.1, rel=0.5)


def test_a_detectors_normalisations_have_the_statistics_of_its_input() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.BatchNorm2d(1), torch.nn.BatchNorm2d(1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(image) * 3 + 1)  # type: ignore[no-any-return]

    model = Two().eval()
    image = torch.tensor([1.0, 2.0, 3.0, 6.0]).reshape(1, 1, 2, 2)  # mean 3, unbiased variance 14 / 3
    proof._settle(model, {"image": image.numpy()})
    assert float(model.first.running_mean) == 3.0  # type: ignore[arg-type]
    assert float(model.first.running_var) == pytest.approx(14 / 3)  # type: ignore[arg-type]
    assert float(model.second.running_mean) == pytest.approx(1.0, abs=1e-5)  # type: ignore[arg-type]
    assert float(model.second.running_var) == pytest.approx(9.0, rel=1e-4), "those after the first one, as it is now"  # type: ignore[arg-type]
    with torch.no_grad():
        found = model(image)
    assert (float(found.mean()), float(found.std())) == (pytest.approx(0.0, abs=1e-5), pytest.approx(1.0, rel=1e-4))
    constant = Two().eval()
    proof._settle(constant, {"image": torch.ones(1, 1, 2, 2).numpy()})
    assert float(constant.first.running_var) == pytest.approx(0.01), "never a division by nearly zero"  # type: ignore[arg-type]


def test_an_export_that_fails_is_a_row_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise ModelError("no form of this operator")

    monkeypatch.setattr(proof, "export", fails)
    row = prove(load_family("bert"), "fill-mask", target=load_target("x86-vnni"), folder=tmp_path, dtype="float16")
    assert (row.family, row.task, row.dtype) == ("bert", "fill-mask", "float16")
    assert (row.exports, row.holds, row.reason, row.nodes) == (False, False, "no form of this operator", 0)
