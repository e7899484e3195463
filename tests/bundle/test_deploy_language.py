"""Projects for Node and browsers around a language model: the loop, the chat template, golden tokens; other platforms."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeopt.bundle.deploy import Platform, deploy_bundle
from edgeopt.bundle.language_model import LanguageModelSpec, write_language_model
from edgeopt.errors import ModelError
from edgeopt.targets.transports.browser import find_browser
from tests.cli.conftest import exported

# A model without weights: the next token is the sum of those before, and the cache holds how many there were.
LOOP = """
import { readFile } from "node:fs/promises";
import { LanguageModel, otherTokens } from "./generate.mjs";
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
const start = seen.length;
model.held = null;
const again = [];
for (const prompt of [[1, 2], [1, 2, 3, 6, 5], [1, 9]]) for await (const token of model.tokens(prompt, 2)) again.push(token);
const read_ = seen.slice(start).map(([count]) => count);
const { compiled, readTemplate } = await import("./template.mjs");
const config = { chat_template: [{ name: "default", template: "T" }], eos_token: { content: "</s>" }, other: "x" };
const given = { "tokenizer_config.json": config, "special_tokens_map.json": { eos_token: "old", bos_token: "<s>" } };
const template = await readTemplate(async (name) => (given[name] ? JSON.stringify(given[name]) : null));
class Template { constructor(text) { this.text = text; } render(values) { return JSON.stringify([this.text, values]); } }
const rendered = JSON.parse(compiled(Template, template)([{ role: "user", content: "hi" }]));
const none = await readTemplate(async () => null);
const alone = model.tokenizer.plainIds("hello");
const sample = { text: "a", prompt: [1, 2], tokens: [3], margins: [1] };
const other = await model.checkGolden({ tolerance: 0.5, samples: [sample] }, ({ prompt }) => otherTokens([1, 3], prompt));
const half = [];
generation.cache_type = "float16";
for await (const token of model.tokens([1, 2], 5)) half.push(token);
generation.suppress = [3];  // (the sum of 1 and 2, so the best token)
const others = [];
for await (const token of model.tokens([1, 2], 1)) others.push(token);
generation.suppress = [];
const first = model.tokenizer.encode("Grüße, 你好 🙂").ids;
console.log(JSON.stringify({ tokens, seen, right: await golden([3, 6], [1, 1]), wrong: await golden([3, 7], [1, 1]),
  near: await golden([3, 7], [1, 0.1]), first, back: model.tokenizer.decode(first), text, said, half,
  again, read: read_, rendered, none, alone, other, others }));
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
    assert found["others"] == [0], "the best token is suppressed, and of the others the first is taken"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    assert len(found["said"]) == 3
    assert found["text"] == tokenizer.decode(found["said"])
    assert found["first"] == tokenizer.encode("Grüße, 你好 🙂").ids
    assert found["back"] == "Grüße, 你好 🙂"
    assert found["again"] == [3, 6, 17, 14, 10, 0]
    assert found["read"] == [2, 1, 2, 1, 2, 1], "a prompt that goes on with what the cache holds is not read again"
    variables = {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
    }
    assert found["rendered"] == ["T", {"bos_token": "<s>", "eos_token": "</s>", **variables}]
    assert found["none"] is None
    assert found["alone"] == tokenizer.encode("hello", add_special_tokens=False).ids
    assert found["other"]["problem"] == "sample 0: its text has other tokens here"


def test_a_project_for_browsers_keeps_all_its_files_offline(bundle: Path, tmp_path: Path) -> None:
    project = deploy_bundle(bundle, Platform.WEB, output=tmp_path / "app")
    listed = re.findall(r'"([^"]+)"', (tmp_path / "app" / "precached.js").read_text())
    own = [name for name in listed if not name.startswith("ort/") and name != "./"]
    assert {"worker.mjs", "generate.mjs", "template.mjs", "page.mjs", "page.css"} <= set(own) <= set(project.files)
    imported = {
        name
        for file in (tmp_path / "app").glob("*.mjs")
        for name in re.findall(r'from "\./([^"]+)"', file.read_text(encoding="utf-8"))
    }
    assert {"generate.mjs", "ort/jinja.mjs"} <= imported <= set(listed), "what the page loads is kept"


def test_golden_tokens_in_a_real_browser(bundle: Path, tmp_path: Path) -> None:
    """Chromium with the packages of npm, which the project's Makefile installs; the second visit is without a network."""
    if shutil.which("npm") is None or find_browser() is None:
        pytest.skip("npm or Chromium is not installed")
    deploy_bundle(bundle, Platform.WEB, output=tmp_path / "app")
    made = subprocess.run(["make", "setup"], cwd=tmp_path / "app", capture_output=True, text=True, check=False, timeout=300)
    if made.returncode:
        pytest.skip(f"npm cannot install the packages: {made.stderr.strip().splitlines()[:1]}")
    done = subprocess.run(["make", "test"], cwd=tmp_path / "app", capture_output=True, text=True, check=False, timeout=300)
    count = sum(len(sample["tokens"]) for sample in json.loads((bundle / "golden.json").read_text())["samples"])
    lines = [f"{visit}: {count} of {count} golden answers as recorded" for visit in ("online", "offline")]
    said = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert (done.returncode, said[-3:]) == (0, [*lines, "passed"]), done.stdout + done.stderr


def test_other_platforms_are_refused_in_a_line(bundle: Path, tmp_path: Path) -> None:
    for platform in (Platform.SERVE, Platform.CPP, Platform.ANDROID):
        with pytest.raises(ModelError, match="makes projects of language models for web and node alone"):
            deploy_bundle(bundle, platform, output=tmp_path / "app")
    assert not (tmp_path / "app").exists()
