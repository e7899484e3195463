"""Commands in this process and in one of their own, small models, and a tiny language model for them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
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


SMALL = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[batch, 16] x) => (float[batch, 16] y)
<float[16] b = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}>
{ z = Add(x, b) y = Relu(z) }
"""
GOOD = """
<ir_version: 10, opset_import: ["" : 20]>
good (float[batch, 4] x) => (float[batch, 4] y) { y = Relu(x) }
"""
BAD = GOOD.replace("y = Relu(x)", "y = Neg(x)").replace("good", "bad")  # always finds the least likely class


def edgeopt(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "edgeopt", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a small model and data for it."""
    onnx.save(parser.parse_model(SMALL), tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=np.ones((4, 16), np.float32))
    return tmp_path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder with a good and a bad classifier, and labelled data for them."""
    for name, text in (("good", GOOD), ("bad", BAD)):
        onnx.save(parser.parse_model(text), tmp_path / f"{name}.onnx")
    labels = np.arange(40) % 4
    np.savez(tmp_path / "labelled.npz", x=np.eye(4, dtype=np.float32)[labels] + 0.1, labels=labels)
    return tmp_path
