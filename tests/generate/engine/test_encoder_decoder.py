"""Encoder-decoders: transformers' tokens from T5, BART and Whisper with tiny configurations."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.generate.engine import encoder_decoder
from edgeopt.generate.engine.encoder_decoder import EncoderDecoder, Suppressed, is_encoder_decoder
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import CacheError, FolderError, PromptError
from edgeopt.generate.engine.sampling import Sampling
from tests.encoder_decoders import TOKENS, exported
from tests.generate.conftest import make_tokenizer

TEXTS = ["Once upon a time there was a small model", "a", "Grüße aus Zürich!"]


def made(model: Any, **given: Any) -> list[int]:
    """Return transformers' greedy tokens without the start tokens."""
    import torch

    inputs = {name: torch.from_numpy(value) for name, value in given.items()}
    return [int(token) for token in model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=16)[0]]


def ends_with(whole: list[int], answer: tuple[int, ...]) -> bool:
    """Return whether `answer` is the end of transformers' tokens, which begin with the start tokens."""
    return len(answer) > 4 and whole[-len(answer) :] == list(answer) and len(whole) - len(answer) <= 4


@pytest.mark.parametrize("text", TEXTS)
def test_t5(t5: tuple[Any, Path], text: str) -> None:
    model, folder = t5
    assert is_encoder_decoder(folder)
    runner = EncoderDecoder(folder)
    answer = runner.generate(text, Sampling(max_tokens=16))
    ids = np.array([runner.tokens.encode(text)])
    assert ends_with(made(model, input_ids=ids, attention_mask=np.ones_like(ids)), answer.tokens)


def test_bart_begins_with_its_forced_token(tmp_path: Path) -> None:
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    source = tmp_path / "bart"
    source.mkdir()
    make_tokenizer(source)
    torch.manual_seed(1)
    sizes: dict[str, Any] = {f"{half}_{what}": 2 for half in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    sizes |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "d_model": 16, "max_position_embeddings": 64, "init_std": 0.5}
    model = BartForConditionalGeneration(BartConfig(**TOKENS, **sizes, decoder_start_token_id=2)).eval()
    model.generation_config.update(forced_bos_token_id=5, forced_eos_token_id=None)
    model.save_pretrained(source)
    runner = EncoderDecoder(exported(model, source, tmp_path / "out", "text2text-generation"))
    answer = runner.generate(TEXTS[0], Sampling(max_tokens=15))
    ids = np.array([runner.tokens.encode(TEXTS[0])])
    assert ends_with(made(model, input_ids=ids, attention_mask=np.ones_like(ids)), answer.tokens)
    with pytest.raises(PromptError, match="reads at most 64"):
        runner.generate("long " * 90)


def write_wav(path: Path, samples: Any, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_whisper_writes_what_a_recording_holds(whisper: tuple[Any, Path, Any], tmp_path: Path) -> None:
    model, folder, hearing = whisper
    samples = np.sin(np.arange(12000) ** 1.3 / 40) * 0.4
    path = write_wav(tmp_path / "a.wav", samples, 16000)
    answer = EncoderDecoder(folder).generate(path, Sampling(max_tokens=16))
    rounded = (samples * 32767).astype("<i2") / 32768
    features = hearing(rounded.astype(np.float32), sampling_rate=16000, return_tensors="np")["input_features"]
    assert ends_with(made(model, input_features=features), answer.tokens)
    assert not {7, 8} & set(answer.tokens)
    assert answer.tokens[0] != 9
    twice = write_wav(tmp_path / "b.wav", np.concatenate([samples, np.zeros(8000)]), 16000)
    parts = EncoderDecoder(folder).generate(twice, Sampling(max_tokens=16))
    assert len(parts.tokens) > len(answer.tokens), "the second part was not read"


def test_a_text_is_no_recording(whisper: tuple[Any, Path, Any], tmp_path: Path) -> None:
    runner = EncoderDecoder(whisper[1])
    with pytest.raises(PromptError, match=r"is not a \.wav file"):
        runner.generate("Hello")
    with pytest.raises(PromptError, match="holds no sound"):
        runner.generate(write_wav(tmp_path / "empty.wav", np.zeros(0), 8000))
    with pytest.raises(PromptError, match="has one language"):
        runner.generate(write_wav(tmp_path / "a.wav", np.zeros(100), 8000), language="en")


def test_another_models_hearing_is_refused(whisper: tuple[Any, Path, Any], tmp_path: Path) -> None:
    folder = shutil.copytree(whisper[1], tmp_path / "model")
    file = folder / "decoder" / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chunk_length": 30}))
    with pytest.raises(FolderError, match=r"reads spectrograms of 16 × 100, and .* makes 16 × 3000"):
        EncoderDecoder(folder)


def test_a_text_whose_attention_does_not_fit_is_refused(t5: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_decoder, "available_bytes", lambda: 4 * 16 * 100**2 / 0.95 + 1)  # (four heads)
    runner = EncoderDecoder(t5[1])
    assert runner.generate("a " * 40, Sampling(max_tokens=2)).tokens
    with pytest.raises(CacheError, match=r"no memory to read a text of \d+ tokens, .* 100 tokens fit"):
        runner.generate("a " * 400)
    monkeypatch.setattr(encoder_decoder, "available_bytes", lambda: None)
    assert runner.generate("a " * 400, Sampling(max_tokens=2)).tokens


def test_a_configuration_without_a_start_is_refused(t5: tuple[Any, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(t5[1], tmp_path / "model")
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / "decoder" / name).read_text())
        values.pop("decoder_start_token_id", None)
        (folder / "decoder" / name).write_text(json.dumps(values))
    with pytest.raises(FolderError, match="no decoder_start_token_id"):
        EncoderDecoder(folder).generate("a")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decoder_start_token_id": 99999}, r"begins with the tokens \[99999\], its vocabulary is 400"),
        ({"eos_token_id": "x"}, "does not describe a decoder: invalid literal"),
        ({"max_position_embeddings": "many"}, "does not describe a decoder: invalid literal"),
        ({"vocab_size": 7}, "they do not belong together"),
    ],
)
def test_configurations_that_cannot_be_are_refused(
    t5: tuple[Any, Path], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    folder = shutil.copytree(t5[1], tmp_path / "model")
    file = folder / "decoder" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    (folder / "decoder" / "generation_config.json").unlink()
    with pytest.raises(FolderError, match=said):
        EncoderDecoder(folder).generate("a")


def test_a_half_is_no_decoder(t5: tuple[Any, Path]) -> None:
    with pytest.raises(FolderError, match="give the folder that holds both halves"):
        Engine.open(t5[1] / "decoder")


def test_suppressed_tokens() -> None:
    choices = Suppressed(6, never=[1, 99], first=[2])
    assert choices.allowed().tolist() == [True, False, False, True, True, True]
    assert choices.accept(3) is False
    assert choices.allowed().tolist() == [True, False, True, True, True, True]
