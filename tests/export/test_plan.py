"""Plans: family and task, samples, axes, operators and types, decided before anything is traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edgeopt.batches import Batch
from edgeopt.errors import DataError, RecipeError
from edgeopt.export.config import ExportConfig
from edgeopt.export.plan import Plan, decide
from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family
from edgeopt.targets.target import load_target

TARGET = load_target("x86-vnni")


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)  # type: ignore[no-any-return]


def rows(*counts: int) -> list[Batch]:
    return [{"x": np.full((count, 3), count, np.float32)} for count in counts]


def plan(samples: Any, module: torch.nn.Module | None = None, **options: Any) -> Plan:
    config = ExportConfig.read(options, where="test")
    return decide(module if module is not None else Net(), samples, target=TARGET, config=config)


@pytest.fixture(scope="module")
def llama() -> torch.nn.Module:
    model: torch.nn.Module = tiny_model(load_family("llama"), "text-generation")
    return model


@pytest.fixture(scope="module")
def vision() -> torch.nn.Module:
    model: torch.nn.Module = tiny_model(load_family("mobilenet_v1"), "image-classification")
    return model


def test_any_module_is_generic_and_follows_the_target() -> None:
    made = plan(rows(1, 1))
    assert (made.family, made.task, made.outputs, made.warnings) == ("generic", "", (), ())
    assert (made.opset, made.attention, made.projections) == (TARGET.export.opset, "fused", TARGET.export.projections)
    assert (made.dtype, made.tolerance) == ("float32", 1e-4)
    assert made.axes == {"x": {0: "batch"}}
    assert made.example["x"].shape == (2, 3), "torch takes an axis of 1 for a constant, so the row is repeated"
    assert [batch["x"].shape[0] for batch in made.checks] == [1, 1, 3, 3]


def test_the_longest_sample_is_traced_and_at_most_the_asked_number_is_compared() -> None:
    made = plan(rows(2, 5, 3), parity_samples=2, axes={"x": {0: "rows"}})
    assert made.example["x"].tolist() == [[5.0] * 3] * 5
    assert made.axes == {"x": {0: "rows"}}
    assert {float(batch["x"].max()) for batch in made.checks} <= {2.0, 5.0}


def test_a_fixed_shape_is_kept_as_it_is() -> None:
    made = plan(rows(2), shapes={"x": [1, 3]})
    assert made.example["x"].shape == (1, 3) and made.axes == {"x": {}}


@pytest.mark.parametrize(
    ("options", "attention", "warned"),
    [
        ({"opset": 22}, "decomposed", True),
        ({"opset": 22, "attention": "decomposed"}, "decomposed", False),
        ({"opset": 23}, "fused", False),
        ({"opset": 24, "attention": "decomposed"}, "decomposed", False),
    ],
)
def test_attention_is_one_operator_from_opset_23(options: dict[str, Any], attention: str, warned: bool) -> None:
    made = plan(rows(2), **options)
    assert (made.opset, made.attention) == (options["opset"], attention)
    assert made.warnings == (("attention is decomposed: opset 22 has no Attention operator",) if warned else ())


def test_fused_attention_is_not_asked_of_an_opset_without_it() -> None:
    with pytest.raises(RecipeError, match="attention 'fused' needs opset 23 or later, not 22"):
        plan(rows(2), opset=22, attention="fused")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-2), ("bfloat16", 8e-2)])
def test_a_type_converts_the_samples_and_has_its_own_tolerance(dtype: str, tolerance: float) -> None:
    made = plan(rows(2), dtype=dtype)
    assert (made.dtype, made.tolerance, made.example["x"].dtype.name) == (dtype, tolerance, dtype)
    assert plan(rows(2), dtype=dtype, tolerance=0.5).tolerance == 0.5
    assert plan(rows(2), Net().half()).dtype == "float16"
    assert plan(rows(2), torch.nn.ReLU(), shapes={"x": [2, 3]}).dtype == "", "a module without weights has no type"


class Offering(Net):
    def example_inputs(self) -> list[Batch]:
        return rows(4)

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        return {"x": {0: "people"}}


def test_a_module_may_offer_its_own_samples_and_axes() -> None:
    made = plan(None, Offering())
    assert made.example["x"].shape == (4, 3) and made.axes == {"x": {0: "people"}}
    assert plan(rows(2), Offering()).example["x"].shape == (2, 3), "given samples count before its own"


@pytest.mark.parametrize(("samples", "said"), [([], "the samples are empty"), ([{}], "the samples are empty")])
def test_empty_samples_are_refused(samples: list[Batch], said: str) -> None:
    with pytest.raises(DataError, match=said):
        plan(samples)


def test_a_module_without_samples_says_how_to_give_some() -> None:
    with pytest.raises(DataError, match=r"export needs samples to call Net with.*--data FILE\.npz.*example_inputs\(\)"):
        plan(None)


def test_a_family_wraps_its_model_and_draws_what_data_sets_do_not_hold(llama: torch.nn.Module) -> None:
    made = plan([{"input_ids": np.ones((2, 5), np.int64)}], llama)
    assert (made.family, made.task, made.decoder) == ("llama", "text-generation", TARGET.export.decoder)
    assert made.module is not llama
    assert made.warnings == ("traced and compared on random inputs: the samples lack 'attention_mask'",)
    assert made.axes["past_key_values.0.key"] == {0: "batch", 2: "past_sequence"}
    assert plan(None, llama).warnings == ("traced and compared on random inputs: no samples were given",)


@pytest.mark.parametrize("options", [{"attention": "decomposed"}, {"decoder": "portable"}, {"opset": 22}])
def test_a_decoder_has_the_targets_form_only_with_fused_attention(llama: torch.nn.Module, options: dict[str, Any]) -> None:
    assert plan(None, llama).decoder == "decoder-cpu"
    assert plan(None, llama, **options).decoder == "portable"


def test_a_model_of_a_family_may_be_exported_as_any_module(vision: torch.nn.Module) -> None:
    images = [{"pixel_values": np.zeros((1, 3, 32, 32), np.float32)}]
    made = plan(images, vision, family="generic", task="sorting", outputs=["logits"])
    assert (made.family, made.task, made.outputs, made.module) == ("generic", "sorting", ("logits",), vision)


def test_sizes_that_are_made_dynamic_are_compared_beside_the_real_samples(vision: torch.nn.Module) -> None:
    real = [{"pixel_values": np.full((1, 3, 32, 32), 7, np.float32)} for _ in range(3)]
    for limit in (2, 8):
        made = plan(real, vision, dynamic=["height", "width"], parity_samples=limit)
        assert made.axes == {"pixel_values": {0: "batch", 2: "height", 3: "width"}}
        assert any((batch["pixel_values"] == 7).any() for batch in made.checks), "random images do not replace all real ones"
        assert not made.warnings
    assert not plan(real, vision).axes["pixel_values"].keys() & {2, 3}


def test_axes_that_cannot_be_dynamic_are_named(vision: torch.nn.Module) -> None:
    with pytest.raises(RecipeError, match=r"dynamic: 'hight' \(did you mean 'height'\?\) is not .* allowed: height, width"):
        plan(None, vision, dynamic=["hight"])
    with pytest.raises(RecipeError, match="allowed: none; a module without a family takes 'axes'"):
        plan(rows(2), dynamic=["height"])


@pytest.mark.parametrize("made", [{"x": np.ones((2, 4))}, [5], [[("x", 1)]], 5, "raises"])
def test_samples_of_a_module_that_are_none_are_an_error_of_the_data(made: object) -> None:
    class Offering(torch.nn.Linear):
        def example_inputs(self) -> object:
            if made == "raises":
                raise ZeroDivisionError("no samples")
            return made

    with pytest.raises(DataError, match=r"Offering\.example_inputs\(\) must return a list of mappings"):
        plan(None, Offering(4, 3))


def test_axes_of_a_recipe_have_texts_as_keys() -> None:
    assert ExportConfig.read({"axes": {"x": {"0": "rows"}}}, where="r").axes == {"x": {0: "rows"}}
    assert ExportConfig.read({"axes": {"x": {0: "rows"}}}, where="r").axes == {"x": {0: "rows"}}
    for values in (
        {"axes": {"x": {"-1": "rows"}}},
        {"axes": {"x": {"a": "rows"}}},
        {"shapes": {"x": [-1, 4]}},
        {"shapes": {"x": [0]}},
    ):
        with pytest.raises(RecipeError, match=r"key '(axes|shapes)\.x"):
            ExportConfig.read(values, where="r")


def test_samples_of_types_that_no_tensor_has_are_refused() -> None:
    for values, said in [
        (np.array([["a"]], object), "values of type object"),
        (np.ones((2, 4), np.complex64), "values of type complex64"),
        (np.ones((0, 4), np.float32), "holds no rows"),
    ]:
        with pytest.raises(DataError, match=f"sample 0, input 'input': {said}"):
            plan([{"input": values}])


def test_numbers_and_arrays_of_another_byte_order_are_samples() -> None:
    found = plan([{"input": np.ones((2, 4), ">f4")}]).example["input"]
    assert found.dtype == np.dtype("=f4") and found.dtype.isnative
    assert isinstance(plan([{"input": np.ones((2, 4), np.float32), "scale": 2.0}]).example["scale"], np.ndarray)
