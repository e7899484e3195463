"""onnxruntime-genai as the engine: the same tokens from the same folder; skipped where the package is absent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeopt.errors import MachineError, ModelError, RecipeError
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.genai import generate_with_genai


def test_an_absent_package_is_named(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    with pytest.raises(MachineError, match=r"pip install 'edgeopt\[genai\]'"):
        generate_with_genai(engine, [5], Sampling())


def test_the_same_tokens_as_our_engine(decoder_cpu: Path) -> None:
    pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    engine = Engine.open(decoder_cpu)
    prompt = engine.tokens.encode("Once upon a time")
    options = Sampling(max_tokens=16)
    assert generate_with_genai(engine, prompt, options).tokens == engine.generate(prompt, options).tokens


def test_options_that_it_lacks_are_refused(decoder_cpu: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    engine = Engine.open(decoder_cpu)
    with pytest.raises(RecipeError, match="has no option 'min_p'"):
        generate_with_genai(engine, [5], Sampling(min_p=0.1))


def test_a_folder_without_its_file_is_refused(engine: Engine) -> None:
    pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    if not (engine.described.model.parent / "genai_config.json").is_file():
        with pytest.raises(ModelError, match=r"no genai_config\.json"):
            generate_with_genai(engine, [5], Sampling())
