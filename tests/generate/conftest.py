"""A tiny language model with random weights, its tokenizer and chat template, exported once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeopt.generate.engine.engine import Engine

TEXT = """Once upon a time there was a small model that ran on a small board. It read a question, it thought, and it answered.
The quick brown fox jumps over the lazy dog, again and again: one, two, three, four. Grüße aus Zürich! 你好，世界。 🙂🙃
{"name": "value", "list": [1, 2, 3], "true": false} def add(a, b): return a + b  # a comment
"""
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
VOCABULARY = 400


def make_tokenizer(folder: Path) -> Any:
    """Write a byte-level BPE tokenizer with a chat template to `folder` and return transformers' view of it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|pad|>", "<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([TEXT] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<|pad|>", bos_token="<|start|>", eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The PyTorch model and its transformers folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("teacher")
    make_tokenizer(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="session")
def portable(teacher: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder in the portable form."""
    return _exported(teacher, "webgpu", tmp_path_factory.mktemp("portable"))


def _exported(teacher: tuple[Any, Path], target: str, output: Path) -> Path:
    from edgeopt.export import ExportConfig, export
    from edgeopt.targets.target import load_target

    model, folder = teacher
    export(model, None, target=load_target(target), output=output, config=ExportConfig(source_folder=folder))
    return output


@pytest.fixture(scope="session")
def engine(portable: Path) -> Engine:
    """An engine of the portable form."""
    return Engine.open(portable)


@pytest.fixture(scope="session")
def decoder_cpu(teacher: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder in the form with one shared cache buffer."""
    output = _exported(teacher, "x86-vnni", tmp_path_factory.mktemp("decoder-cpu"))
    if not (output / "generation.json").is_file():
        pytest.skip("edgeopt export does not write the form decoder-cpu")
    return output
