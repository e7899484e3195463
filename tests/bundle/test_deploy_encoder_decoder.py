"""Projects for Node and browsers around an encoder-decoder: how it reads, what it begins with, golden tokens."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.bundle.deploy import Platform, deploy_bundle
from edgeopt.bundle.encoder_decoder import write_encoder_decoder
from edgeopt.bundle.language_model import LanguageModelSpec
from edgeopt.errors import ModelError

# Sessions without weights. The encoder gives the sum of what it reads; the next token is 20 + (that + tokens before) modulo 20.
SESSIONS = """
import { readFile } from "node:fs/promises";
import { openBundle } from "./inference.mjs";
const read = async (name) => new Uint8Array(await readFile(`bundle/${name}`));
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const number = (value) => new Tensor("float32", Float32Array.of(value), [1, 1, 1, 1]);
const sum = (values) => [...values].reduce((all, one) => all + Number(one), 0);
const [config, inputNames] = process.argv.slice(2).map((text) => JSON.parse(text));
const seen = [];
const encoder = {
  inputNames,
  run: async (feeds) => ({ "cross.0": number(sum(Object.values(feeds)[0].data)), unread: number(1) }),
};
const decoder = {
  inputNames: ["decoder_input_ids", "encoder_attention_mask", "cross.0", "past_key_values.0.key", "past_key_values.0.value"],
  async run(feeds) {
    const ids = [...feeds.decoder_input_ids.data].map(Number);
    seen.push({ ids, given: Object.keys(feeds).filter((name) => !name.startsWith("past")).sort() });
    const all = sum(ids) + sum(feeds["past_key_values.0.key"].data);
    const next = 20 + ((Math.round(feeds["cross.0"].data[0]) + all) % 20);
    const logits = Float32Array.from({ length: 40 }, (_, k) => -Math.abs(k - next));
    return { logits: new Tensor("float32", logits, [1, 1, 40]), "present.0.key": number(all), "present.0.value": number(all) };
  },
};
const generation = { ...JSON.parse(await readFile("bundle/generation.json", "utf8")), layers: 1, eos: [] };
const changed = { "generation.json": generation, "decoder/generation_config.json": config };
const given = async (name) => (changed[name] ? new TextEncoder().encode(JSON.stringify(changed[name])) : read(name));
const sessions = [encoder, decoder];
const bundle = await openBundle({ Tensor, InferenceSession: { create: async () => sessions.shift() } }, given);
const problems = [];
const refused = async (raw) => bundle.predict(raw).catch((error) => problems.push(error.message));
const inOrder = () => ({ tokens: seen.map(({ ids }) => ids), problems, steps: bundle.steps });
"""
TEXTS = """
const [{ input_ids: ids, attention_mask: mask }] = bundle.read("Once upon a time");
const answer = await bundle.predict("Once upon a time");
const { given: inputs } = seen[0];
await refused("");
await refused(new Uint8Array(3));
const golden = await bundle.checkGolden(given);
const both = [ids, mask].map(({ data }) => [...data].map(Number));
console.log(JSON.stringify({ read: both, answer, inputs, golden, ...inOrder() }));
"""
SOUNDS = """
const sound = await read("example.wav");
const [{ input_features: heard }] = bundle.read(sound);
await bundle.predict(sound);
const twice = bundle.read(new Uint8Array(await readFile("twice.wav"))).length;
await refused("a text");
await refused(new Uint8Array(60));
const golden = await bundle.checkGolden(given);
console.log(JSON.stringify({ heard: [...heard.data], dims: heard.dims, twice, golden, ...inOrder() }));
"""


def bundled(folder: Path, output: Path) -> Path:
    write_encoder_decoder(LanguageModelSpec(folder, "tiny", "host"), output=output)
    return output


def ran(app: Path, script: str, config: dict[str, Any], inputs: list[str]) -> dict[str, Any]:
    """Run `script` in a project, with sessions without weights, and return what it prints."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (app / "try.mjs").write_text(SESSIONS + script, encoding="utf-8")
    command = [node, "try.mjs", json.dumps(config), json.dumps(inputs)]
    done = subprocess.run(command, cwd=app, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_text_is_read_once_and_answered_token_by_token(t5: tuple[Any, Path], tmp_path: Path) -> None:
    bundle = bundled(t5[1], tmp_path / "bundle")
    project = deploy_bundle(bundle, Platform.NODE, output=tmp_path / "app")
    assert {"main.mjs", "inference.mjs", "generate.mjs", "audio.mjs", "bundle.mjs", "bundle/encoder/model.onnx"} <= set(
        project.files
    )
    assert "'One, two, three, four,'" in (tmp_path / "app" / "Makefile").read_text()
    config = {"decoder_start_token_id": 0, "forced_bos_token_id": 5, "suppress_tokens": None, "bad_words_ids": [[25], [26, 27]]}
    found = ran(tmp_path / "app", TEXTS, config, ["input_ids", "attention_mask"])
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bundle / "decoder" / "tokenizer.json"))
    ids = tokenizer.encode("Once upon a time").ids
    assert found["read"] == [ids, [1] * len(ids)]
    assert found["tokens"][0] == [0, 5], "the start token and the forced one"
    assert found["inputs"] == ["cross.0", "decoder_input_ids", "encoder_attention_mask"], (
        "nothing that the decoder does not take"
    )
    expected, total = [], sum(ids) + 5
    while len(expected) < 256:  # 25 is forbidden: the nearest below it is as likely as the one above, and comes first
        token = 20 + total % 20
        expected.append(24 if token == 25 else token)
        total += expected[-1]
    assert [token for tokens in found["tokens"][1:256] for token in tokens] == expected[:255]
    assert found["answer"] == {"kind": "text", "text": tokenizer.decode(expected)}
    assert found["steps"] == {"kind": "tokenizer", "pair": False}
    assert found["problems"] == ["the text is empty: write at least one character", "this model takes a text"]
    golden = json.loads((bundle / "golden.json").read_text())["samples"]
    assert found["golden"]["count"] == len(golden)
    assert re.match(rf"sample 0, token 0: \d+ instead of {golden[0]['tokens'][0]}$", found["golden"]["problems"][0])


def test_a_recording_is_heard_as_in_python(whisper: tuple[Any, Path, Any], tmp_path: Path) -> None:
    bundle = bundled(whisper[1], tmp_path / "bundle")
    deploy_bundle(bundle, Platform.NODE, output=tmp_path / "app")
    assert "'BUNDLE/example.wav'" in (tmp_path / "app" / "Makefile").read_text()
    sound = (bundle / "example.wav").read_bytes()
    (tmp_path / "app" / "twice.wav").write_bytes(sound[:40] + (2 * len(sound[44:])).to_bytes(4, "little") + 2 * sound[44:])
    languages = {"<|de|>": 30, "<|en|>": 31}
    config = {
        "decoder_start_token_id": 3,
        "lang_to_id": languages,
        "task_to_id": {"transcribe": 32},
        "no_timestamps_token_id": 33,
    }
    found = ran(tmp_path / "app", SOUNDS, {**config, "suppress_tokens": [], "begin_suppress_tokens": [21]}, ["input_features"])
    with np.load(bundle / "golden.npz") as arrays:
        recorded = arrays["0.input_features"]
    assert found["dims"] == list(recorded.shape)
    np.testing.assert_allclose(np.array(found["heard"]).reshape(recorded.shape), recorded, atol=1e-5)
    assert found["tokens"][0] == [3]
    language = found["tokens"][1][1]
    assert language in languages.values()
    assert found["tokens"][1] == [3, language, 32, 33], "start, the likelier language, the task, no times"
    assert found["tokens"][2] != [21]
    assert found["twice"] == 2
    assert found["steps"] == {"kind": "audio", "rate": 16000}
    assert found["problems"] == ["this model takes the bytes of a .wav file", "not a .wav file"]
    assert found["golden"]["problems"][0].startswith("sample 0, token 0: "), "its spectrogram is as recorded"


def test_a_page_keeps_all_its_files_offline(t5: tuple[Any, Path], tmp_path: Path) -> None:
    bundle = bundled(t5[1], tmp_path / "bundle")
    project = deploy_bundle(bundle, Platform.WEB, output=tmp_path / "app")
    listed = re.findall(r'"([^"]+)"', (tmp_path / "app" / "precached.js").read_text())
    own = {name for name in listed if not name.startswith("ort/") and name != "./"}
    assert own <= set(project.files)
    imported = {
        name
        for file in (tmp_path / "app").glob("*.mjs")
        for name in re.findall(r'from "\./([^"]+)"', file.read_text(encoding="utf-8"))
    }
    assert {"generate.mjs", "inference.mjs", "audio.mjs"} <= imported <= own
    assert 'kind: "text"' in (tmp_path / "app" / "app.mjs").read_text()
    with pytest.raises(ModelError, match="makes projects of language models for web and node alone"):
        deploy_bundle(bundle, Platform.CPP, output=tmp_path / "cpp")
