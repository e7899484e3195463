"""A project for Node around a language model: its loop, its golden tokens; what other platforms say."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeopt.bundle.deploy import Platform, deploy_bundle
from edgeopt.bundle.language_model import LanguageModelSpec, write_language_model
from edgeopt.errors import ModelError
from tests.cli.conftest import exported

# A model without weights: the next token is the sum of those before, and the cache holds how many there were.
LOOP = """
import { readFile } from "node:fs/promises";
import { LanguageModel } from "./generate.mjs";
const read = async (name) => JSON.parse(await readFile(`bundle/${name}`, "utf8"));
const generation = { ...(await read("generation.json")), layers: 1, eos: [9] };
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const seen = [];
const session = {
  inputNames: ["input_ids", "attention_mask", "past_key_values.0.key", "past_key_values.0.value"],
  async run(feeds) {
    const ids = [...feeds.input_ids.data].map(Number);
    const sum = feeds["past_key_values.0.key"].data.reduce((a, b) => a + b, 0) + ids.reduce((a, b) => a + b, 0);
    seen.push([ids.length, feeds.attention_mask.dims[1], feeds["past_key_values.0.key"].dims[2]]);
    const cache = new Tensor("float32", Float32Array.of(sum), [1, 1, 1, 1]);
    const half = generation.cache_type === "float16";  // (1 and -1 are 0x3c00 and 0xbc00)
    const logits = half ? new Uint16Array(40).fill(0xbc00) : new Float32Array(40).fill(-1);
    logits[20 + (sum % 20)] = half ? 0x3c00 : 1;
    return { logits: new Tensor(generation.cache_type, logits, [1, 2, 20]), "present.0.key": cache, "present.0.value": cache };
  },
};
const model = new LanguageModel({ Tensor }, session, generation, await read("tokenizer.json"));
const tokens = [];
for await (const token of model.tokens([1, 2], 5)) tokens.push(token);
const golden = (tokens, margins) => model.checkGolden({ tolerance: 0.5, samples: [{ prompt: [1, 2], tokens, margins }] });
let text = "";
for await (const piece of model.stream("hello", 3)) text += piece;
const said = [];
for await (const token of model.tokens(model.tokenizer.encode("hello").ids, 3)) said.push(token);
const half = [];
generation.cache_type = "float16";
for await (const token of model.tokens([1, 2], 5)) half.push(token);
const first = model.tokenizer.encode("Grüße, 你好 🙂").ids;
console.log(JSON.stringify({ tokens, seen, right: await golden([3, 6], [1, 1]), wrong: await golden([3, 7], [1, 1]),
  near: await golden([3, 7], [1, 0.1]), first, back: model.tokenizer.decode(first), text, said, half }));
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = exported(tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("model"))
    output = tmp_path_factory.mktemp("out") / "bundle"
    write_language_model(LanguageModelSpec(folder, "tiny", "host"), output=output)
    return output


def test_a_project_for_node_decodes_and_checks_golden_tokens(bundle: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    project = deploy_bundle(bundle, Platform.NODE, output=tmp_path / "app")
    assert {"main.mjs", "generate.mjs", "text.mjs", "tokenizer.mjs", "package.json", "bundle/model.onnx"} <= set(project.files)
    (tmp_path / "app" / "loop.mjs").write_text(LOOP, encoding="utf-8")
    done = subprocess.run([node, "loop.mjs"], cwd=tmp_path / "app", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tokens"] == [3, 6, 12, 4, 8], "1 + 2, and each time the sum of all before, modulo 20"
    assert found["seen"][:3] == [[2, 2, 0], [1, 3, 1], [1, 4, 1]], "tokens, length of the mask, length of the cache"
    assert found["right"] == {"places": 2, "equal": 2, "close": 0, "problem": None}
    assert found["wrong"]["problem"] == "sample 0, token 1: 6 instead of 7"
    assert (found["near"]["close"], found["near"]["problem"]) == (1, None)
    assert found["half"] == found["tokens"], "logits of half precision are bits"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    assert len(found["said"]) == 3
    assert found["text"] == tokenizer.decode(found["said"])
    assert found["first"] == tokenizer.encode("Grüße, 你好 🙂").ids
    assert found["back"] == "Grüße, 你好 🙂"


def test_other_platforms_are_refused_in_a_line(bundle: Path, tmp_path: Path) -> None:
    for platform in (Platform.SERVE, Platform.CPP, Platform.WEB):
        with pytest.raises(ModelError, match="makes projects of language models for node alone"):
            deploy_bundle(bundle, platform, output=tmp_path / "app")
    assert not (tmp_path / "app").exists()
