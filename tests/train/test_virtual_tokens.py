"""P-tuning: only virtual tokens are trained, and the folder that is saved gives what peft's model gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from peft import PeftModelForCausalLM, PromptEncoderConfig
from tokenizers import processors
from torch import nn

from edgeopt.data.text import TextOptions, tokenized, windows
from edgeopt.errors import ModelError
from edgeopt.models.load import LoadedModel, load_model
from edgeopt.tasks.language_model import LanguageModel
from edgeopt.train.adapters import attach
from edgeopt.train.callbacks import Callback, Step
from edgeopt.train.config import AdapterOptions, TrainOptions
from edgeopt.train.fine_tune import fine_tune, save_trained
from edgeopt.train.loop import Session, fit
from edgeopt.train.supervised import Supervised
from edgeopt.train.task_loss import evaluator, task_loss
from edgeopt.train.virtual_tokens import add_virtual_tokens, extend_tokenizer, framed
from edgeopt.train.watch import Watch
from tests.conftest import WORDS
from tests.generate.conftest import TEXT, VOCABULARY, make_tokenizer

COUNT = 4
ADAPTER = AdapterOptions(kind="p-tuning", virtual_tokens=COUNT)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "own head"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    make_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, initializer_range=0.1, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=request.param,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model with trained virtual tokens; what else changes, and whether it learns, is checked here."""
    task, folder, out = LanguageModel(), tmp_path_factory.mktemp("tokenizer"), tmp_path_factory.mktemp("trained")
    options = TextOptions(max_length=16)
    plain = load_model(source, task="text-generation")
    before = evaluator(task, windows(TEXT, source, options, made_from=""))(plain.module).value
    weights = {name: value.clone() for name, value in plain.module.state_dict().items()}
    loaded = add_virtual_tokens(plain, COUNT, folder)
    samples = windows(TEXT, folder, options, made_from="")
    train = TrainOptions(epochs=40.0, batch_size=8, learning_rate=3e-3, adapter=ADAPTER, precision="no")
    fine_tune(loaded, samples, task, options=train, session=Session(0))
    assert evaluator(task, samples)(loaded.module).value < 0.9 * before
    for name, value in loaded.module.state_dict().items():
        assert torch.equal(value[: len(weights[name])], weights[name]), f"{name} is not a virtual token and changed"
    save_trained(loaded, samples, out)
    return out


def test_only_the_encoder_of_virtual_tokens_gets_gradients(source: Path, tmp_path: Path) -> None:
    model: Any = add_virtual_tokens(load_model(source, task="text-generation"), COUNT, tmp_path).module
    with attach(model, ADAPTER):
        ids = torch.tensor([[*model.config.virtual_tokens, 7, 8, 9]])
        model(input_ids=ids, labels=ids).loss.backward()
        got = {name for name, value in model.named_parameters() if value.grad is not None}
        assert got
        assert all(".encoder." in name for name in got)


class _Dies(Callback):
    def on_step(self, step: Step) -> None:
        if step.step == 3:
            raise RuntimeError("killed")


def test_a_killed_training_resumes_bit_for_bit(source: Path, tmp_path: Path) -> None:
    task, options = LanguageModel(), TextOptions(max_length=16)
    train = TrainOptions(epochs=2.0, batch_size=8, learning_rate=1e-3, adapter=ADAPTER, precision="no", checkpoint_seconds=0.0)

    def run(folder: Path | None, watch: Watch) -> tuple[int, torch.Tensor]:
        model: Any = add_virtual_tokens(load_model(source, task="text-generation"), COUNT, tmp_path / "t").module
        samples = windows(TEXT * 3, tmp_path / "t", options, made_from="")
        hard = task_loss(task, samples)
        assert hard is not None
        result = fit(model, samples, Supervised(hard, task.call), options=train, session=Session(0, folder), watch=watch)
        return result.resumed_from_step, model.get_input_embeddings().weight

    _, whole = run(None, Watch())
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, Watch(callbacks=(_Dies(),)))
    resumed, weights = run(tmp_path, Watch())
    assert resumed == 2
    assert torch.equal(whole, weights)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # (peft 0.21 asks transformers 5 in its old way)
def test_the_saved_folder_gives_what_pefts_model_gives(source: Path, trained: Path) -> None:
    saved: Any = transformers.AutoModelForCausalLM.from_pretrained(trained).eval()
    virtual = saved.config.virtual_tokens
    options = PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=COUNT, token_dim=32, encoder_hidden_size=32)
    base = transformers.AutoModelForCausalLM.from_pretrained(source)
    theirs: Any = PeftModelForCausalLM(base, options).eval()
    theirs.prompt_encoder["default"].mlp_head = nn.Identity()
    theirs.prompt_encoder["default"].embedding.weight.data = saved.get_input_embeddings().weight.data[virtual]
    text = "The quick brown fox sleeps"
    plain = transformers.AutoTokenizer.from_pretrained(source)(text, return_tensors="pt")
    ours = transformers.AutoTokenizer.from_pretrained(trained)(text, return_tensors="pt")
    assert ours["input_ids"][0].tolist() == [*virtual, *plain["input_ids"][0].tolist()]
    with torch.inference_mode():
        wanted = theirs(**plain).logits
        found = saved(**ours).logits[..., :VOCABULARY]
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-5)


def test_virtual_tokens_are_in_front_of_chats_and_never_generated(trained: Path) -> None:
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(trained)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(trained)
    virtual = model.config.virtual_tokens
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], return_dict=True)["input_ids"]
    assert chat[:COUNT] == virtual
    assert not set(chat[COUNT:]) & set(virtual)
    assert tokenizer.decode(chat, skip_special_tokens=True).startswith("user")
    assert model.generation_config.suppress_tokens == virtual
    head = model.get_output_embeddings().weight
    if head is not model.get_input_embeddings().weight:
        mean = head[:VOCABULARY].mean(0).expand(COUNT, -1)
        assert torch.allclose(head[virtual], mean, atol=1e-6), "its logit may be the largest"


def test_predicted_tokens_are_those_without_virtual_tokens(source: Path, trained: Path) -> None:
    options, task = TextOptions(max_length=16), LanguageModel()
    plain, own = (windows(TEXT, folder, options, made_from="") for folder in (source, trained))
    assert own.lead == COUNT and len(own) == len(plain)
    assert own[0]["input_ids"][COUNT:].tolist() == plain[0]["input_ids"].tolist()
    labels = [task.labels(samples, [0], samples.collate([0]))["labels"][0] for samples in (plain, own)]
    assert labels[1][:COUNT].tolist() == [-100] * COUNT
    assert labels[1][COUNT:].tolist() == labels[0].tolist()
    logits = np.zeros((16 + COUNT, VOCABULARY), np.float32)
    assert task.fitted({}, own).answer({"logits": logits}, own[0]).tokens == 15


def test_a_classifier_learns_with_its_head_alone(word_tokenizer: Path, tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(WORDS), initializer_range=0.2, **sizes)
    source = tmp_path / "source"
    transformers.BertForSequenceClassification(config).save_pretrained(source)
    (source / "tokenizer.json").write_bytes((word_tokenizer / "tokenizer.json").read_bytes())
    loaded = add_virtual_tokens(load_model(source), COUNT, tmp_path / "tokenizer")
    before = loaded.module.bert.encoder.layer[0].output.dense.weight.clone()
    texts = ["the good film", "the bad film", "good", "bad fox", "a good fox", "bad"] * 4
    options = TextOptions(inputs=("input_ids", "attention_mask", "token_type_ids"))
    samples = tokenized(texts, np.array([1, 0, 1, 0, 1, 0] * 4), tmp_path / "tokenizer", options, made_from="")
    assert samples[0]["input_ids"].tolist() == [13, 14, 15, 16, 1, 6, 3, 5, 2]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")("the good film")
    assert theirs["input_ids"] == samples[0]["input_ids"].tolist(), "the class of BERT frames texts on its own"
    from edgeopt.tasks.registry import find_task

    train = TrainOptions(epochs=20.0, batch_size=8, learning_rate=1e-2, adapter=ADAPTER, precision="no")
    result = fine_tune(loaded, samples, find_task("text-classification"), options=train, session=Session(0), evaluation=samples)
    assert max(one.value for one in result.evaluations) == 1.0
    assert torch.equal(loaded.module.bert.encoder.layer[0].output.dense.weight, before)


_A, _B = "the good film", "who sleeps"


@pytest.mark.parametrize(
    "processor",
    [
        None,
        processors.ByteLevel(trim_offsets=False),
        processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
        processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1)),
        processors.Sequence(
            [processors.ByteLevel(), processors.TemplateProcessing("[CLS] $A", "[CLS] $A $B:1", special_tokens=[("[CLS]", 1)])]
        ),
    ],
    ids=["none", "byte level", "BERT", "RoBERTa", "sequence"],
)
def test_every_post_processor_keeps_what_it_did(processor: Any, word_tokenizer: Path, tmp_path: Path) -> None:
    made = tokenizers.Tokenizer.from_file(str(word_tokenizer / "tokenizer.json"))
    document = json.loads(made.to_str())
    document["post_processor"] = None
    made = tokenizers.Tokenizer.from_str(json.dumps(document))
    if processor is not None:
        made.post_processor = processor
    made.save(str(tmp_path / "tokenizer.json"))
    virtual = extend_tokenizer(tmp_path, tmp_path / "extended", 2)
    longer = tokenizers.Tokenizer.from_file(str(tmp_path / "extended" / "tokenizer.json"))
    for texts in ((_A,), (_A, _B)):
        before, after = made.encode(*texts), longer.encode(*texts)
        assert after.ids == [*virtual, *before.ids]
        assert after.type_ids == [0, 0, *before.type_ids]
    assert longer.encode(_A, add_special_tokens=False).ids == made.encode(_A, add_special_tokens=False).ids


def test_the_template_of_a_post_processor_is_extended_in_its_place() -> None:
    given = {"type": "TemplateProcessing", "single": ["A"], "pair": ["A", "B"], "special_tokens": {}}
    made = framed({"type": "Sequence", "processors": [{"type": "ByteLevel"}, given]}, {"<v>": 9})
    assert [part["type"] for part in made["processors"]] == ["ByteLevel", "TemplateProcessing"]
    assert given["single"] == ["A"], "what was given is changed"


def test_what_cannot_have_virtual_tokens_is_refused(source: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"needs a transformers folder with tokenizer\.json"):
        add_virtual_tokens(LoadedModel(nn.Linear(2, 2), None, None), COUNT, tmp_path)
    with pytest.raises(ModelError, match="has virtual tokens already"):
        add_virtual_tokens(load_model(trained, task="text-generation"), COUNT, tmp_path)
    with pytest.raises(ModelError, match="leave no room for a text: the model reads 64"):
        add_virtual_tokens(load_model(source, task="text-generation"), 40, tmp_path)
    with (
        pytest.raises(ModelError, match="p-tuning is for the training of a transformers model on texts"),
        attach(load_model(source, task="text-generation").module, ADAPTER),
    ):
        pass
    for wrong in ({"kind": "p-tuning", "rank": 4}, {"kind": "lora", "virtual_tokens": 4}):
        with pytest.raises(ValueError, match="is no option of kind"):
            AdapterOptions.model_validate(wrong)
