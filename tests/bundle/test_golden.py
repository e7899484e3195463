"""Golden samples: what is recorded, how far other machines may be off, and samples that cannot be recorded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from edgeopt.bundle import golden
from edgeopt.bundle.golden import Golden, arithmetic_of, record_golden, write_golden
from edgeopt.bundle.spec import Tolerance
from edgeopt.errors import DataError, ModelError
from edgeopt.graph.signature import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "float32", ("batch", 2)),), (TensorSpec("y", "float32", ("batch", 2)),))
SAMPLE = {"x": np.zeros((1, 2), np.float32)}


class Session:
    """Returns planted outputs, one list per sample, and the shapes that a runtime would infer."""

    def __init__(self, outputs: list[list[Any]], shapes: list[list[Any]]) -> None:
        self.left = [[np.asarray(value) for value in values] for values in outputs]
        self.shapes = shapes

    def run(self, names: None, sample: dict[str, Any]) -> list[Any]:
        return self.left.pop(0)

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(shape=shape) for shape in self.shapes]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Record planted outputs of the optimised graph and of the graph as written."""

    def recorded(optimised: list[list[Any]], plain: list[list[Any]], **options: Any) -> Golden:
        signature = options.pop("signature", SIGNATURE)
        shapes = options.pop("shapes", [["batch", 2]] * len(signature.outputs))
        sessions = {True: Session(optimised, shapes), False: Session(plain, shapes)}
        monkeypatch.setattr(golden, "_session", lambda model, *, optimize: sessions[optimize])
        defaults = {"arithmetic": "float32", "labels": 0, "tolerances": {}}
        return record_golden(Path("m.onnx"), [SAMPLE] * len(optimised), signature=signature, **{**defaults, **options})

    return recorded


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_the_tolerance_is_four_times_what_one_machine_shows(record: Any) -> None:
    found = record([[row(1, 2)], [row(3, -8)]], [[row(1, 2.25)], [row(3, -8.5)]])
    (tolerance,) = found.tolerances
    assert (tolerance["output"], tolerance["absolute"], tolerance["relative"]) == ("y", 2.0, 0.0)
    assert tolerance["reason"].startswith("the larger of 4 × 0.5 (optimised against plain graph) and 0.0001 × 8")
    assert [values[0].tolist() for values in found.outputs] == [[[1, 2]], [[3, -8]]], "those of the optimised graph"


@pytest.mark.parametrize(("arithmetic", "share"), [("float32", 1e-4), ("float16", 5e-3), ("integer", 2e-2)])
def test_it_is_never_less_than_a_share_of_the_largest_magnitude(record: Any, arithmetic: str, share: float) -> None:
    found = record([[row(1, -5)]], [[row(1, -5)]], arithmetic=arithmetic)
    assert found.tolerances[0]["absolute"] == pytest.approx(share * 5)


def test_infinite_values_do_not_widen_it(record: Any) -> None:
    found = record([[row(np.inf, 2)]], [[row(np.inf, 2)]])
    assert found.tolerances[0]["absolute"] == pytest.approx(2e-4)


def test_a_given_tolerance_counts_and_integers_must_be_equal(record: Any) -> None:
    both = Signature(SIGNATURE.inputs, (*SIGNATURE.outputs, TensorSpec("best", "int64", ("batch", 1))))
    values = [[row(1, 2), np.array([[1]])]]
    found = record(values, values, signature=both, tolerances={"y": Tolerance(0.5, 0.25)}, shapes=[["batch", 2], ["batch", 1]])
    assert [(one["absolute"], one["relative"], one["reason"]) for one in found.tolerances] == [
        (0.5, 0.25, "given"),
        (0.0, 0.0, "integers and texts must be equal"),
    ]


@pytest.mark.parametrize(
    ("labels", "value", "kept"),
    [(2, row(1, 2), True), (3, row(1, 2), False), (0, row(1, 2), False), (1, np.ones((1, 1), np.float32), False)],
)
def test_the_best_class_is_kept_where_an_output_has_one_value_per_label(
    record: Any, labels: int, value: np.ndarray, kept: bool
) -> None:
    assert record([[value]], [[value]], labels=labels).tolerances[0]["top1"] is kept


def test_the_best_class_needs_a_row_per_sample(record: Any) -> None:
    vector = np.array([1, 2], np.float32)
    signature = Signature(SIGNATURE.inputs, (TensorSpec("y", "float32", (2,)),))
    assert record([[vector]], [[vector]], labels=2, signature=signature, shapes=[[2]]).tolerances[0]["top1"] is False


@pytest.mark.parametrize(
    ("declared", "inferred", "recorded"),
    [
        (("batch", 2), ["batch", 2], ("batch", 2)),
        (("?", 2), ["n", 2], ("n", 2)),
        (("batch", "?"), [None, 2], ("batch", 2)),
        (("?", "?"), [None, ""], ("?", "?")),
        ((3,), ["n", 2], ("n", 2)),  # a declared rank that the outputs do not have
        (("batch", 2), ["n"], ("batch", 2)),
        (("batch", 2), [-1, 2], ("batch", 2)),
    ],
)
def test_axes_have_the_files_names_and_the_runtimes_sizes(
    record: Any, declared: tuple[Any, ...], inferred: list[Any], recorded: tuple[Any, ...]
) -> None:
    signature = Signature(SIGNATURE.inputs, (TensorSpec("y", "float32", declared),))
    assert record([[row(1, 2)]], [[row(1, 2)]], signature=signature, shapes=[inferred]).shapes == (recorded,)


def test_what_cannot_be_compared_is_refused(record: Any) -> None:
    with pytest.raises(DataError, match="golden sample 1 makes output 'y' NaN"):
        record([[row(1, 2)], [row(np.nan, 2)]], [[row(1, 2)], [row(1, 2)]])
    vector = np.array([1, 2], np.float32)
    with pytest.raises(ModelError, match="output 'y' has 1 or 2 axes, by the sample"):
        record([[row(1, 2)], [vector]], [[row(1, 2)], [vector]])


def graph(text: str) -> ir.Model:
    return ir.from_proto(parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {text}'))


def test_the_arithmetic_is_that_of_the_operators_and_weights() -> None:
    plain = graph("(float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    assert arithmetic_of(plain) == "float32"
    for kind in (np.float16, ir.DataType.BFLOAT16.numpy()):
        half = ir.tensor(np.ones(2).astype(kind), name="h")
        other = plain.clone()
        other.graph.register_initializer(ir.val("h", const_value=half))
        assert arithmetic_of(other) == "float16"
    rounded = "{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"
    integer = graph(f"(float[2] x) => (float[2] y) <float s = {{0.5}}, uint8 z = {{0}}> {rounded}")
    assert arithmetic_of(integer) == "integer"
    assert [arithmetic_of(*models) for models in ((plain, other), (plain, integer), (integer, other))] == [
        "float16",
        "integer",
        "integer",
    ]


def test_samples_are_written_without_pickles_and_always_as_the_same_bytes(tmp_path: Path) -> None:
    inputs = ({"b": np.array([[1, 2]]), "a": np.asfortranarray(np.eye(2, 3, dtype=np.float32))},)
    signature = Signature((TensorSpec("a", "float32", (2, 3)), TensorSpec("b", "int64", (1, 2))), ())
    made = Golden(inputs, ((np.array(["größer", ""], dtype=object),),), (), (), ())
    for name in ("one.npz", "two.npz"):
        write_golden(made, tmp_path / name, signature=signature)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"sample0000.input0", "sample0000.input1", "sample0000.output0"}
        assert arrays["sample0000.input0"].tolist() == [[1, 0, 0], [0, 1, 0]], "inputs in the model's order"
        assert arrays["sample0000.output0"].tolist() == ["größer", ""]


def test_a_model_that_does_not_run_on_a_sample_is_named(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 19]> g (float[n, m] x) => (float[n, 2] y) { y = MatMul(x, w) }'
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 2), np.float32), "w"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    signature = Signature((TensorSpec("x", "float32", ("n", "m")),), SIGNATURE.outputs)
    options: dict[str, Any] = {"signature": signature, "arithmetic": "float32", "labels": 0, "tolerances": {}}
    found = record_golden(tmp_path / "m.onnx", [{"x": np.ones((1, 3), np.float32)}], **options)
    assert found.outputs[0][0].tolist() == [[3.0, 3.0]]
    with pytest.raises(ModelError, match=r"m\.onnx: golden sample 1 does not run: "):
        record_golden(tmp_path / "m.onnx", [{"x": np.ones((1, size), np.float32)} for size in (3, 4)], **options)
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"m\.onnx: onnxruntime does not load it: "):
        record_golden(tmp_path / "m.onnx", [{"x": np.ones((1, 3), np.float32)}], **options)


def test_an_output_whose_size_hangs_on_rounding_is_no_golden_one(record: Any) -> None:
    with pytest.raises(DataError, match=r"sample 0 makes output 'y' of the shape \[1, 2\] in the optimised graph and \[2, 2\]"):
        record([[np.ones((1, 2), np.float32)]], [[np.ones((2, 2), np.float32)]])
