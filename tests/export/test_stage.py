from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import edgeopt
from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.export import ExportConfig, export, stage


class Convolution(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(256, 10)

    def forward(self, image):
        return self.head(torch.relu(self.norm(self.convolution(image))).flatten(1))


def images(count=4):
    rng = np.random.default_rng(0)
    return [{"image": rng.normal(size=(1, 1, 8, 8)).astype(np.float32)} for _ in range(count)]


def bert(**options):
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    small = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return BertForSequenceClassification(BertConfig(**(small | options)))


def test_a_plain_module_gets_a_dynamic_batch_and_equal_outputs(tmp_path, target):
    model = Convolution().train()
    result = export(model, images(), target=target, output=tmp_path)
    assert model.training and model.norm.training
    assert [(value.name, value.shape) for value in result.inputs] == [("image", ("batch", 1, 8, 8))]
    assert result.parity.passed and result.parity.relative_error < 1e-5
    assert {"image 1×1×8×8", "image 3×1×8×8"} <= set(result.parity.shapes)
    batch = np.concatenate([batch["image"] for batch in images(7)])
    (produced,) = ort.InferenceSession(result.path).run(None, {"image": batch})
    expected = model.eval()(torch.from_numpy(batch)).detach().numpy()
    np.testing.assert_allclose(produced, expected, atol=1e-5)
    assert json.loads(json.dumps(result.facts()))["nodes"] == result.nodes


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, target):
    """A small BERT exported from a folder that also holds what must not travel along."""
    folder = tmp_path_factory.mktemp("encoder")
    bert().save_pretrained(folder / "source")
    (folder / "source" / "tokenizer.json").write_text("{}")
    (folder / "source" / "model.safetensors.index.json").write_text("{}")
    (folder / "source" / "modeling.py").write_text("raise SystemExit")
    config = ExportConfig(source="somewhere/model", source_folder=folder / "source")
    return export(bert(), None, target=target, output=folder / "out", config=config)


def test_two_exports_give_the_same_bytes_without_paths_or_stack_traces(tmp_path, target):
    first = export(Convolution(), images(), target=target, output=tmp_path / "a").path.read_bytes()
    second = export(Convolution(), images(), target=target, output=tmp_path / "b").path.read_bytes()
    assert first == second
    for leak in (b"stack_trace", str(Path.cwd()).encode(), str(tmp_path).encode(), b"site-packages"):
        assert leak not in first


def test_nodes_and_weights_carry_the_names_of_the_source_modules(tmp_path, target):
    graph = onnx.load(export(Convolution(), images(), target=target, output=tmp_path).path).graph
    names = {node.op_type: node.name for node in graph.node}
    assert names["Conv"] == "convolution/Conv"
    assert names["Gemm"] == "head/Gemm"
    assert "head.weight" in {tensor.name for tensor in graph.initializer}


@pytest.mark.parametrize("attention", ["fused", "decomposed"])
def test_an_encoder_has_named_axes_shared_by_its_inputs_and_no_mask_arithmetic(tmp_path, target, sentence, attention):
    samples = [sentence(5), sentence(9, padding=3), sentence(12)]
    result = export(bert(), samples, target=target, output=tmp_path, config=ExportConfig(attention=attention))
    assert {value.shape for value in result.inputs} == {("batch", "sequence")}
    assert [(value.name, value.shape) for value in result.outputs] == [("logits", ("batch", 2))]
    assert result.op_counts.get("Attention", 0) == (2 if attention == "fused" else 0)
    assert result.op_counts.get("Softmax", 0) == (0 if attention == "fused" else 2)
    assert not {"GatherND", "IsNaN", "Range", "ScatterND", "If"} & set(result.op_counts)
    assert result.parity.passed


def test_an_opset_without_attention_is_decomposed_and_says_so(tmp_path, target, sentence):
    result = export(bert(num_hidden_layers=1), [sentence(6)], target=target, output=tmp_path, config=ExportConfig(opset=20))
    assert result.attention == "decomposed" and "opset 20" in result.warnings[0]
    with pytest.raises(RecipeError, match="needs opset 23"):
        export(bert(), [sentence(6)], target=target, output=tmp_path, config=ExportConfig(opset=20, attention="fused"))


def test_fixed_shapes_are_fixed(tmp_path, target, sentence):
    shapes = {name: [1, 16] for name in sentence(4)}
    result = export(bert(), [sentence(5), sentence(20)], target=target, output=tmp_path, config=ExportConfig(shapes=shapes))
    assert {value.shape for value in result.inputs} == {(1, 16)}
    assert result.parity.passed
    with pytest.raises(RecipeError, match=r"no input 'input_id' \(did you mean 'input_ids'\?\)"):
        export(bert(), [sentence(5)], target=target, output=tmp_path, config=ExportConfig(shapes={"input_id": [1, 16]}))


def test_metadata_says_what_the_file_is(encoder):
    model = onnx.load(encoder.path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (model.producer_name, model.producer_version) == ("edgeopt", edgeopt.__version__)
    assert facts.pop("edgeopt.torch") == torch.__version__
    axes = json.loads(facts.pop("edgeopt.axes"))
    assert axes == {key: {"0": "batch", "1": "sequence"} for key in ("attention_mask", "input_ids", "token_type_ids")}
    assert facts == {
        "edgeopt.source": "somewhere/model",
        "edgeopt.family": "bert",
        "edgeopt.task": "text-classification",
        "edgeopt.attention": "fused",
        "edgeopt.projections": "apart",
        "edgeopt.dtype": "float32",
        "edgeopt.opset": "24",
        "edgeopt.version": edgeopt.__version__,
    }
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [24]


def test_configuration_and_tokenizer_travel_along_but_no_weights(encoder):
    assert sorted(file.name for file in encoder.path.parent.iterdir()) == ["config.json", "model.onnx", "tokenizer.json"]
    assert [file.name for file in encoder.files] == ["model.onnx", "config.json", "tokenizer.json"]


def test_only_files_travel_along(tmp_path):
    source, output = tmp_path / "model", tmp_path / "out"
    (source / "notes.txt").mkdir(parents=True)
    (source / "gone.json").symlink_to(source / "nothing.json")
    (source / "vocab.txt").write_text("a")
    assert stage._copy_beside(source, output) == [output / "vocab.txt"]


def test_no_samples_and_wrong_names_are_told(tmp_path, target):
    with pytest.raises(DataError, match="samples are empty"):
        export(Convolution(), [], target=target, output=tmp_path)
    with pytest.raises(ModelError, match=r"cannot run on the samples \(photo \[2, 3\]\)"):
        export(Convolution(), [{"photo": np.ones((1, 3), np.float32)}], target=target, output=tmp_path)
    with pytest.raises(ModelError, match="no output 'logit'; it has: output"):
        export(Convolution(), images(), target=target, output=tmp_path, config=ExportConfig(outputs=["logit"]))


def test_without_samples_a_family_draws_its_own_and_says_so(encoder, tmp_path, target):
    assert encoder.parity.passed and len(encoder.parity.shapes) >= 3
    assert encoder.warnings == ("traced and compared on random inputs: no samples were given",)
    with pytest.raises(DataError, match="belongs to no family"):
        export(Convolution(), None, target=target, output=tmp_path)


def test_a_model_of_no_family_is_refused_until_generic_is_asked_for(tmp_path, target, sentence):
    from transformers import FNetConfig, FNetForSequenceClassification

    small = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
    model = FNetForSequenceClassification(FNetConfig(**small))
    with pytest.raises(ModelError, match=r"no family exports models of type 'fnet'.*set family 'generic'"):
        export(model, [sentence(6)], target=target, output=tmp_path)


def test_a_head_the_model_lacks_is_told(tmp_path, target, sentence):
    with pytest.raises(ModelError, match="BertForSequenceClassification has no head for fill-mask"):
        export(bert(), [sentence(6)], target=target, output=tmp_path, config=ExportConfig(task="fill-mask"))


def test_half_precision_is_compared_with_its_own_tolerance(tmp_path, target):
    samples = [{name: array.astype(np.float16) for name, array in batch.items()} for batch in images()]
    result = export(Convolution().half(), samples, target=target, output=tmp_path)
    assert {value.dtype for value in result.outputs} == {"float16"}
    assert result.parity.tolerance == 1e-2 and 0 < result.parity.relative_error < 1e-2


def test_a_difference_is_an_error_that_names_the_first_tensor(tmp_path, target, monkeypatch):
    from edgeopt.export import stage

    honest = stage.to_onnx

    def wrong(*arguments, **options):
        model, exported = honest(*arguments, **options)
        weight = model.graph.initializers["module.head.weight"]
        weight.const_value = __import__("onnx_ir").tensor(weight.const_value.numpy() * 1.5, name=weight.name)
        return model, exported

    monkeypatch.setattr(stage, "to_onnx", wrong)
    earlier = tmp_path / "model.onnx"
    earlier.write_text("the last good one")
    with pytest.raises(ModelError, match=r"relative error 0\.\d+, allowed 0\.0001 .* first tensor that diverges: 'output'"):
        export(Convolution(), images(), target=target, output=tmp_path)
    assert list(tmp_path.iterdir()) == [earlier] and earlier.read_text() == "the last good one"


def test_weights_beyond_protobufs_limit_get_a_file_of_their_own(tmp_path, target, monkeypatch):
    from edgeopt.graph import files

    inside = export(Convolution(), images(), target=target, output=tmp_path / "inside")
    monkeypatch.setattr(files, "MOST_IN_MESSAGE", 1000)
    result = export(Convolution(), images(), target=target, output=tmp_path / "beside")
    assert [file.name for file in result.files] == ["model.onnx", "model.onnx.data"]
    assert result.files[0].stat().st_size < inside.size_bytes < result.size_bytes + 10_000
    assert result.parity.passed


def test_the_real_teacher_agrees_on_real_sentences(tmp_path, target, data_folder):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = data_folder("sst2_teacher")
    lines = (data_folder("sst2") / "stsa.binary.train").read_text(encoding="utf-8").splitlines()[:4]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    samples = [dict(tokenizer(line[2:], return_tensors="np")) for line in lines]
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    result = export(model, samples, target=target, output=tmp_path, config=ExportConfig(source_folder=folder))
    assert result.op_counts["Attention"] == 6
    last = [node for node in onnx.load(result.path).graph.node if node.op_type == "Attention"][-1]
    shapes = {value.name: value.type.tensor_type.shape.dim for value in onnx.load(result.path).graph.value_info}
    assert shapes[last.input[0]][1].dim_value == 1, "the last attention is asked for the one token that is read"
    assert "Transpose" not in result.op_counts, "the heads are split inside Attention"
    assert "MatMul" not in result.op_counts, "biases are in Gemm"
    assert result.op_counts["Gemm"] == 6 * 6 + 2, "Q, K, V are apart, which this provider runs faster"
    assert result.parity.relative_error < 1e-4 and len(result.parity.shapes) >= 3
    assert (tmp_path / "tokenizer.json").is_file()
    merged = export(model, samples, target=target, output=tmp_path, config=ExportConfig(projections="merged"))
    assert merged.op_counts["Gemm"] == 6 * 4 + 1 + 2, "Q, K, V are one product, but for the last layer's, where Q is one row"
    assert merged.parity.relative_error < 1e-4


class Returning(torch.nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


def exported(tmp_path, target, make):
    """Export a module that returns what `make` makes of x [2, 4]; return the file's outputs, by name, and the result."""
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    result = export(Returning(make), [{"x": x}], target=target, output=tmp_path)
    session = ort.InferenceSession(result.path)
    names = [value.name for value in session.get_outputs()]
    return x, dict(zip(names, session.run(names, {"x": x}), strict=True)), result


def test_nested_outputs_are_all_in_the_file(tmp_path, target):
    x, found, result = exported(tmp_path, target, lambda x: {"a": x * 2, "b": [x, x + 1], "c": {"d": x.mean(-1)}, "n": 3})
    assert list(found) == ["a", "b.0", "b.1", "c.d"]
    for name, expected in (("a", x * 2), ("b.0", x), ("b.1", x + 1), ("c.d", x.mean(-1))):
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
    assert result.warnings == ("not a tensor, so no output of the file: 'n' (the Python value 3)",)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda x: {"x": x * 2}, ["x_out"]),
        (lambda x: {"x": x}, ["x_out"]),
        (lambda x: {"x": x * 2, "x_out": x + 1}, ["x_out_out", "x_out"]),
        (lambda x: (x, x), ["output_0", "output_1"]),
        (lambda x: (x + 1, x + 1), ["output_0", "output_1"]),
        (lambda x: {"mul": x + 1, "add": x * 2}, ["mul", "add"]),
        (lambda x: {"y": x, "ones": torch.ones(3)}, ["y", "ones"]),
    ],
)
def test_outputs_may_be_called_or_be_what_something_else_is(tmp_path, target, make, names):
    x, found, _ = exported(tmp_path, target, make)
    assert list(found) == names
    wanted = make(torch.from_numpy(x))
    for produced, expected in zip(found.values(), wanted.values() if isinstance(wanted, dict) else wanted, strict=True):
        np.testing.assert_allclose(produced, expected.numpy(), rtol=1e-6)


def test_a_forward_of_any_number_of_tensors_takes_them_in_their_order(tmp_path, target):
    class Joining(torch.nn.Module):
        def forward(self, *parts):
            return torch.cat(parts, -1)

    samples = [{"b": np.zeros((2, 1), np.float32), "a": np.ones((2, 2), np.float32)}]
    result = export(Joining(), samples, target=target, output=tmp_path)
    (joined,) = ort.InferenceSession(result.path).run(None, samples[0])
    assert joined.tolist() == [[0, 1, 1], [0, 1, 1]]


def test_a_module_that_gives_no_tensor_is_refused(tmp_path, target):
    with pytest.raises(ModelError, match="returns no tensor"):
        exported(tmp_path, target, lambda x: {"text": "nothing"})
