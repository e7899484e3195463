"""Bundles of encoder-decoders: they verify, run without edgeopt, and find what was changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeopt.bundle.encoder_decoder import SENTENCES, sound, write_encoder_decoder
from edgeopt.bundle.language_model import LanguageModelSpec
from edgeopt.bundle.verify import verify_bundle
from edgeopt.device_code import inference
from edgeopt.generate.engine.audio import read_wav
from edgeopt.generate.engine.encoder_decoder import EncoderDecoder
from edgeopt.generate.engine.sampling import Sampling
from tests.cli.conftest import edgeopt_here


@pytest.fixture(scope="module")
def bundle(t5: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "bundle"
    done = edgeopt_here("bundle", str(t5[1]), "-o", str(output), "--name", "tiny t5", "--licence", "MIT")
    assert done.returncode == 0, done.stderr
    return output


def run_program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run generate.py as a receiver without edgeopt and jinja2 does."""
    block = "import sys; sys.modules['edgeopt'] = sys.modules['jinja2'] = None; sys.argv = sys.argv[1:]; "
    code = block + f"import runpy; runpy.run_path({str(folder / 'generate.py')!r}, run_name='__main__')"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", code, "generate.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_it_verifies_and_records_what_was_said(bundle: Path) -> None:
    facts = json.loads((bundle / "bundle.json").read_text())
    assert (facts["kind"], facts["task"], facts["model"]["file"]) == ("llm", "text2text-generation", "decoder/model.onnx")
    golden = json.loads((bundle / "golden.json").read_text())
    assert [sample["text"] for sample in golden["samples"]] == list(SENTENCES)
    report = verify_bundle(bundle)
    assert report.passed, report.checks
    assert any("tokens in 3 samples as recorded" in check.detail for check in report.checks)
    assert "# tiny t5\n" in (bundle / "README.md").read_text()


def test_its_program_runs_without_edgeopt_and_gives_the_engines_tokens(bundle: Path, t5: tuple[Any, Path]) -> None:
    done = run_program(bundle, SENTENCES[1], "--json", "--max-tokens", "9")
    assert done.returncode == 0, done.stderr
    expected = EncoderDecoder(t5[1]).generate(SENTENCES[1], Sampling(max_tokens=9))
    assert json.loads(done.stdout)["tokens"] == list(expected.tokens)
    done = run_program(bundle, "")
    assert (done.returncode, done.stderr) == (2, "generate: the text is empty: write at least one character\n")
    done = edgeopt_here("generate", str(bundle), SENTENCES[1], "--max-tokens", "9", "--format", "json")
    assert json.loads(done.stdout)["tokens"] == list(expected.tokens)


def test_its_program_ends_without_a_traceback_when_its_reader_has_gone(bundle: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", str(bundle / "generate.py"), SENTENCES[1], "--max-tokens", "9"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_source_that_was_changed_changes_tokens(bundle: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(bundle, tmp_path / "changed")
    with np.load(changed / "golden.npz") as read:
        arrays = dict(read)
    np.savez_compressed(changed / "golden.npz", allow_pickle=False, **{**arrays, "1.input_ids": arrays["1.input_ids"] * 0 + 40})
    assert verify_bundle(changed).exit_code != 0  # by its hash
    code, session = inference("golden_tokens"), EncoderDecoder(changed).decoder
    ((status, detail),) = code.check(str(changed), json.loads((changed / "bundle.json").read_text()), session)
    assert (status, detail.split(",")[0]) == ("failed", "sample 1")
    (changed / "golden.npz").write_bytes(b"PK")
    assert code.check(str(changed), {"golden": {"file": "golden.json"}}, session)[0][0] == "failed"


def test_whisper_brings_a_recording_and_our_spectrogram(whisper: tuple[Any, Path, Any], tmp_path: Path) -> None:
    made = write_encoder_decoder(LanguageModelSpec(whisper[1], "ears", "host"), output=tmp_path / "bundle")
    assert made.verified
    assert read_wav(tmp_path / "bundle" / "example.wav", 16000).shape == (16000,)  # (this model hears one second)
    done = run_program(tmp_path / "bundle", "example.wav", "--json", "--max-tokens", "6")
    assert done.returncode == 0, done.stderr
    golden = json.loads((tmp_path / "bundle" / "golden.json").read_text())
    assert json.loads(done.stdout)["tokens"] == golden["samples"][0]["tokens"][:6]


def test_golden_tokens_are_judged_by_the_coarser_half(whisper: tuple[Any, Path, Any], tmp_path: Path) -> None:
    folder = shutil.copytree(whisper[1], tmp_path / "model")
    encoder = onnx.load(folder / "encoder" / "model.onnx")
    encoder.graph.initializer.append(onnx.helper.make_tensor("step", onnx.TensorProto.FLOAT, [], [0.5]))
    encoder.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["step", "step"], ["unread"]))
    onnx.save(encoder, folder / "encoder" / "model.onnx")
    write_encoder_decoder(LanguageModelSpec(folder, "ears", "host"), output=tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle" / "bundle.json").read_text())["model"]["arithmetic"] == "integer"
    assert "integer arithmetic" in json.loads((tmp_path / "bundle" / "golden.json").read_text())["reason"]


def test_golden_texts_are_as_long_as_the_model_reads(t5: tuple[Any, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(t5[1], tmp_path / "model")
    file = folder / "decoder" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": 20}))
    write_encoder_decoder(LanguageModelSpec(folder, "short", "host"), output=tmp_path / "bundle")
    runner = EncoderDecoder(folder)
    texts = [sample["text"] for sample in json.loads((tmp_path / "bundle" / "golden.json").read_text())["samples"]]
    assert len(texts) == len(SENTENCES)
    assert all(sentence.startswith(text) for text, sentence in zip(texts, SENTENCES, strict=True))
    assert all(8 < len(runner.tokens.encode(text)) <= 20 for text in texts)


def test_a_sound_rises() -> None:
    samples = read_wav(sound(200.0, 1000.0, seconds=2), 16000)
    halves = [np.abs(np.fft.rfft(half)).argmax() for half in np.split(samples, 2)]
    assert halves[0] < 650 < halves[1]
