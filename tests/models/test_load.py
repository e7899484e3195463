"""Models are loaded without pickles and without running untrusted code, and what is wrong with a source is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from edgeopt.errors import ModelError
from edgeopt.models import load
from edgeopt.models.load import Origin, load_model
from edgeopt.models.save import save_model
from tests.models.conftest import saved


def rewritten(folder: Path, **changes: object) -> Path:
    """Save a model into `folder` and change its model.json."""
    saved(folder)
    record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps({**record, **changes}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "builder",
    [
        *(
            "os:system",
            "subprocess:run",
            "edgeopt_evil.models.x:y",
            "edgeopt.models.load:load_timm",
            "edgeopt.models.size:torch",
        ),
        *("edgeopt.models.residual_cnn:nn.Linear", "edgeopt.models.residual_cnn:ResidualBlock", " edgeopt.models.load:build"),
    ],
)
def test_a_strangers_model_runs_no_code(tmp_path: Path, builder: str) -> None:
    rewritten(tmp_path, builder=builder, arguments={"command": f"touch {tmp_path}/owned"})
    with pytest.raises(ModelError, match="names the builder"):
        load_model(tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("function", ["build", "load_model"])
def test_a_function_of_ours_that_runs_what_it_is_given_is_no_builder(tmp_path: Path, function: str) -> None:
    inner = {"builder": "os:mkdir", "arguments": {"path": str(tmp_path / "owned")}}
    outer = inner if function == "build" else {"source": "os:mkdir", "arguments": inner["arguments"]}
    rewritten(tmp_path, builder=f"edgeopt.models.load:{function}", arguments=outer)
    with pytest.raises(ModelError, match=f"names the builder 'edgeopt.models.load:{function}'"):
        load_model(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_a_module_of_the_current_folder_is_not_imported_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange_nets.py").write_text("import pathlib; pathlib.Path('owned').mkdir()", encoding="utf-8")
    rewritten(tmp_path, builder="strange_nets:Net")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="names the builder 'strange_nets:Net'"):
        load_model(".")
    assert not (tmp_path / "owned").exists()


def test_what_the_user_names_runs_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_part.py").write_text("import torch\n\ndef head():\n    return torch.nn.Linear(2, 3)\n", encoding="utf-8")
    (tmp_path / "my_nets.py").write_text("def net():\n    from my_part import head\n    return head()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    module = load_model("my_nets:net").module
    save_model(module, tmp_path / "saved", origin=Origin("my_nets:net", {}))
    again = load_model(tmp_path / "saved", source_builder="my_nets:net").module
    assert torch.equal(module.weight, again.weight)  # type: ignore[arg-type,union-attr]
    for name in ("my_nets", "my_part"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arguments": {"width": 10**9}}, "width is 1000000000; give a whole number from 1 to 4096"),
        ({"arguments": {"stages": "2"}}, "stages is '2'"),
        ({"arguments": {"width": 4096, "stages": 12}}, "do not fit"),
        ({"arguments": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ({"arguments": [4]}, "arguments: Input should be an object"),
        ({"kept": {"stem.0": {"out": ["0"]}}}, "kept.stem.0.out.0: Input should be a valid integer"),
        ({"kept": {"stem.0": {"sideways": [0]}}}, "kept.stem.0.sideways"),
        ({"builder": ["os:system"]}, "builder: Input should be a valid string"),
        ({"kept": {"head": {"in": [2**70]}}}, "side 'in': a number is no channel"),
        ({"labels": "cat"}, "labels: Input should be a valid array"),
    ],
)
def test_a_record_of_a_wrong_form_is_one_line(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError) as found:
        load_model(rewritten(tmp_path, **changes))
    assert said in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize(
    "wanted",
    [
        {"attn_implementation": "someone/attention"},
        {"_attn_implementation": "paged|someone/attention:forward"},
        {"attn_implementation": {"": "someone/attention"}},
        {"text_config": {"experts_implementation": "someone/experts"}},
    ],
)
def test_a_config_that_wants_kernels_of_the_hub_is_refused(tmp_path: Path, wanted: dict[str, object]) -> None:
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**values, **wanted}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"names code of the hub \('.*someone/.*'\)"):
        load_model(tmp_path)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(tmp_path)
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot load it"):
        load_model(tmp_path)


def test_missing_weights_are_never_random(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="would be random"):
        load_model(tmp_path, task="text-classification")


@pytest.mark.parametrize(
    ("architecture", "task", "auto"),
    [
        ("WhisperForConditionalGeneration", "automatic-speech-recognition", "AutoModelForSpeechSeq2Seq"),
        ("T5ForConditionalGeneration", "text2text-generation", "AutoModelForSeq2SeqLM"),
        ("Wav2Vec2ForSequenceClassification", "audio-classification", "AutoModelForAudioClassification"),
        ("BertForSequenceClassification", "text-classification", "AutoModelForSequenceClassification"),
        ("Wav2Vec2ForCTC", "automatic-speech-recognition", "AutoModelForCTC"),
        ("GPT2LMHeadModel", "text-generation", "AutoModelForCausalLM"),
        ("BertModel", "feature-extraction", "AutoModel"),
    ],
)
def test_the_task_follows_from_the_architecture(architecture: str, task: str, auto: str) -> None:
    config = transformers.PretrainedConfig()
    config.architectures = [architecture]
    assert load._task_of(config) == task
    assert load._auto_class(config, task) == auto
    assert hasattr(transformers, auto)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder.x", "no model here"),
        ("/no/such/folder", "no model here"),
        ("../no-such-folder", "no model here"),
        ("students/of/today", "no model here"),
        ("edgeopt.models.residual_cnn:Nothing", "cannot be built"),
        ("collections:OrderedDict", "not an nn.Module"),
        ("no_such_module:x", "cannot be built"),
    ],
)
def test_sources_that_are_none_are_named(source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(source)


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="did you mean 'text-classification'"):
        load_model(tmp_path, task="text-classificatio")


@pytest.mark.parametrize(
    ("task", "kind", "known"),
    [
        ("multi-label-classification", "BertForSequenceClassification", "text-classification"),
        ("regression", "BertForSequenceClassification", "text-classification"),
        ("sentence-embeddings", "BertModel", "feature-extraction"),
        ("tests.models.own:task", "BertForSequenceClassification", "text-classification"),
    ],
)
def test_tasks_are_called_by_their_own_names_too(tmp_path: Path, task: str, kind: str, known: str) -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path)
    loaded = load_model(tmp_path, task=task)
    assert (type(loaded.module).__name__, loaded.task) == (kind, known)


@pytest.mark.parametrize("task", ["ctc", "audio-ctc", None])
def test_a_recogniser_is_loaded_as_the_task_ctc(tmp_path: Path, task: str | None) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    layers = {"conv_dim": (8,), "conv_stride": (4,), "conv_kernel": (8,), "num_conv_pos_embedding_groups": 2}
    config = transformers.Wav2Vec2Config(vocab_size=6, num_conv_pos_embeddings=4, **sizes, **layers)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path)
    loaded = load_model(tmp_path, task=task)
    assert (type(loaded.module).__name__, loaded.task) == ("Wav2Vec2ForCTC", "automatic-speech-recognition")


def test_weights_of_another_kind_than_the_layers_take_are_refused(tmp_path: Path) -> None:
    weights = {name: tensor.to(torch.complex64) for name, tensor in saved(tmp_path).state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"do not fit .*no complex numbers"):
        load_model(tmp_path)


def test_what_a_builder_of_the_users_raises_is_an_error_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = {"raises": "raise RuntimeError('no weights')", "lacks": "{}['x']", "divides": "1 / 0"}
    (tmp_path / "failing_nets.py").write_text("".join(f"def {name}():\n    {body}\n" for name, body in bodies.items()))
    monkeypatch.chdir(tmp_path)
    for name, said in {"raises": "RuntimeError: no weights", "lacks": "KeyError: 'x'", "divides": "ZeroDivisionError"}.items():
        with pytest.raises(ModelError, match=f"failing_nets:{name}: cannot be built with {{}}: {said}"):
            load_model(f"failing_nets:{name}")
    monkeypatch.delitem(sys.modules, "failing_nets")
