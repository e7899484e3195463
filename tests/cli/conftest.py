"""Commands in this process, and a tiny language model for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.errors import EdgeoptError


@dataclass(frozen=True)
class Done:
    """What a command printed and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def edgeopt_here(*arguments: str) -> Done:
    """Run a command in this process."""
    done = CliRunner().invoke(app, list(arguments))
    if isinstance(done.exception, EdgeoptError):
        return Done(done.exception.exit_code, done.stdout, done.stderr + f"edgeopt: {done.exception}\n")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model, exported through the command line as users do."""
    return exported(tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("model"))


def exported(folder: Path, output: Path) -> Path:
    """Make a tiny language model in `folder`, export it to `output` and return that."""
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.generate.conftest import VOCABULARY, make_tokenizer

    make_tokenizer(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokens = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = LlamaConfig(**sizes, **tokens, max_position_embeddings=512, initializer_range=0.4)
    LlamaForCausalLM(config).save_pretrained(folder)
    done = edgeopt_here("export", str(folder), "--target", "x86-vnni", "-o", str(output), "--quiet")
    assert done.returncode == 0, done.stderr
    return output
