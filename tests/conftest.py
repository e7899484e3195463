"""Fixtures every folder of tests shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real models and data (``EDGEOPT_DATA``, default ../shared/data beside the checkout)."""
    return Path(os.environ.get("EDGEOPT_DATA", _CHECKOUT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data_folder(data_root: Path) -> Callable[[str], Path]:
    """Return a function that gives one folder of real data, or skips the test with the reason."""

    def folder(name: str) -> Path:
        path = data_root / name
        if not path.is_dir():
            pytest.skip(f"real data '{name}' is not at {data_root} (set EDGEOPT_DATA)")
        return path

    return folder


WORDS = ["[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "the", "fox", "sleeps", "who", "Sio", "##ux", "Falls"]


@pytest.fixture(scope="session")
def word_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a WordPiece tokenizer that puts [CLS] before a text and [SEP] behind each."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.add_special_tokens(["[CLS]", "[SEP]"])
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A tiny T5 of PyTorch and the folder of its export."""
    from transformers import T5ForConditionalGeneration

    from tests.encoder_decoders import made_once, make_t5

    folder = made_once(tmp_path_factory, "t5", make_t5)
    return T5ForConditionalGeneration.from_pretrained(folder / "source").eval(), folder / "onnx"


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Any]:
    """A tiny Whisper of PyTorch, the folder of its export, and its feature extractor."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    from tests.encoder_decoders import made_once, make_whisper

    folder = made_once(tmp_path_factory, "whisper", make_whisper)
    hearing = WhisperFeatureExtractor.from_pretrained(folder / "source")
    return WhisperForConditionalGeneration.from_pretrained(folder / "source").eval(), folder / "onnx", hearing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names of tests that hold an address: two processes that share the tests would not agree on them."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give its parameters ids")
