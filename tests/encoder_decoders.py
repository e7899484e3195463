"""Tiny encoder-decoders with random weights, in PyTorch and exported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.generate.conftest import VOCABULARY, make_tokenizer

TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def exported(model: Any, source: Path, output: Path, task: str) -> Path:
    from edgeopt.export import ExportConfig, export
    from edgeopt.targets.target import load_target

    for half in ("encoder", "decoder"):
        config = ExportConfig(task=f"{task}/{half}", source_folder=source)
        export(model, None, target=load_target("x86-vnni"), output=output / half, config=config)
    return output


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path, Path], None]) -> Path:
    """Return a folder with `source` and `onnx`, which `make` fills once for all processes of a run: exports take long."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            for part in ("source", "onnx"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            make(folder / "source", folder / "onnx")
            (folder / "done").touch()
    return folder


def make_t5(source: Path, output: Path) -> None:
    """Save a T5 of PyTorch, and its export."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    make_tokenizer(source)
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    model = T5ForConditionalGeneration(T5Config(**TOKENS, **sizes, decoder_start_token_id=0, initializer_factor=3.0)).eval()
    model.save_pretrained(source)
    exported(model, source, output, "text2text-generation")


def make_whisper(source: Path, output: Path) -> None:
    """Save a Whisper of PyTorch with its feature extractor, and its export."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    make_tokenizer(source)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {f"{half}_{what}": 1 for half in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    sizes |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "d_model": 16, "init_std": 0.5, "max_target_positions": 64}
    config = WhisperConfig(
        **TOKENS, **sizes, num_mel_bins=16, max_source_positions=50, decoder_start_token_id=3, suppress_tokens=[7, 8]
    )
    model = WhisperForConditionalGeneration(config).eval()
    model.generation_config.update(
        suppress_tokens=[7, 8], begin_suppress_tokens=[9], decoder_start_token_id=3, eos_token_id=2, forced_decoder_ids=None
    )
    model.save_pretrained(source)
    WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(source)
    exported(model, source, output, "automatic-speech-recognition")
