"""Projects for every platform: tiny bundles of each kind, whose apps give the recorded answers from raw data."""

import errno
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnxruntime
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from typer.testing import CliRunner

from edgeopt.bundle import BundleSpec, ImageInput, TokenizerInput, write_bundle
from edgeopt.bundle.deploy import Platform, deploy_bundle, next_commands, project_facts
from edgeopt.bundle.manifest import read_manifest
from edgeopt.bundle.raw_golden import RawSample, png, prepared_inputs, wav
from edgeopt.cli.app import app
from edgeopt.data.preprocessing import AudioInput, Spectrogram
from edgeopt.device_code import inference
from edgeopt.errors import MachineError, ModelError, RecipeError
from edgeopt.graph import files
from edgeopt.tasks.decoding import Boxes

HEAD = '<ir_version: 9, opset_import: ["" : 19]>\n'
MEAN = """mean (float[batch, 3, 8, 8] image) => (float[batch, 3] colour)
{ axes = Constant <value_ints = [2, 3]> ()  colour = ReduceMean <keepdims = 0> (image, axes) }"""
ROWS = """rows (float[1, 3, 32, 32] image) => (float[1, 21, 7] output)
{ mean = ReduceMean <keepdims = 0> (image)  nothing = Mul (mean, zero)  output = Add (table, nothing) }"""
TAGS = """tags (int64[batch, length] input_ids, int64[batch, length] attention_mask) => (float[batch, length, 3] logits)
{ scores = Gather (table, input_ids)  mask = Cast <to = 1> (attention_mask)  last = Constant <value_ints = [2]> ()
  wide = Unsqueeze (mask, last)  logits = Mul (scores, wide) }"""
BANDS = """bands (float[batch, 1, 6, time] mel) => (float[batch, 6] level)
{ axes = Constant <value_ints = [1, 3]> ()  level = ReduceMean <keepdims = 0> (mel, axes) }"""


def save(path: Path, text: str, **arrays: np.ndarray) -> Path:
    model = onnx.parser.parse_model(HEAD + text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in arrays.items())
    onnx.save(model, path)
    return path


def tokenizer(path: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ada", "love", "##lace", "met", "bob", "in", "paris", ".", "é"]
    made = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    made.save(str(path))
    return path


def detector_rows() -> np.ndarray:
    rows = np.full((1, 21, 7), -2.0, np.float32)
    rows[0, 5], rows[0, 6] = (0.5, 0.5, 1.0, 0.5, 0.9, 0.9, 0.1), (-0.4, 0.4, 1.0, 0.5, 0.8, 0.8, 0.1)
    rows[0, 17] = (0.2, 0.3, 0.1, 0.2, 0.7, 0.2, 0.9)
    return rows


def write(folder: Path, model: Path, steps, raw, **more) -> Path:
    found = prepared_inputs(raw, steps, files.signature(files.load(model)), more.get("files", {}).get("tokenizer.json"))
    spec = BundleSpec(
        model=model, name=folder.name, target="x86-vnni", golden=found, preprocessing=steps, raw=tuple(raw), **more
    )
    write_bundle(spec, output=folder)
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[str, Path]:
    """A bundle for images, detection, texts, sounds and arrays."""
    place = tmp_path_factory.mktemp("bundles")
    random = np.random.default_rng(0)
    images = [
        RawSample(content=png(random.integers(0, 256, size, dtype=np.uint8)), suffix=".png")
        for size in ((9, 13, 3), (30, 20, 3))
    ]
    sounds = [RawSample(content=wav(np.sin(np.arange(4000) * pitch), 11025), suffix=".wav") for pitch in (0.1, 0.8)]
    texts = [RawSample(text=text) for text in ("Ada Lovelace met  Bob in Paris.", "É [SEP] bob, x\u4e2d")]
    mel = Spectrogram(frame=200, hop=80, fft=256, mels=6, frames=40)
    logits = random.normal(size=(13, 3)).astype(np.float32) * 4
    boxes = Boxes(objectness=True, encoding="grid", strides=[8, 16, 32])
    letterbox = ImageInput(width=32, height=32, letterbox=True, colour="BGR", scale=[1.0])
    zero = np.zeros((), np.float32)
    return {
        "image": write(place / "image", save(place / "a.onnx", MEAN), ImageInput(width=8, height=8, resample="bicubic"), images,
                       task="image-classification", labels=("red", "green", "blue")),
        "boxes": write(place / "boxes", save(place / "b.onnx", ROWS, table=detector_rows(), zero=zero), letterbox, images,
                       task="object-detection", labels=("cat", "dog"), decoding=boxes),
        "text": write(place / "text", save(place / "c.onnx", TAGS, table=logits),
                      TokenizerInput(max_length=12), texts, task="token-classification", labels=("O", "B-PER", "I-PER"),
                      files={"tokenizer.json": tokenizer(place / "tokenizer.json")}),
        "audio": write(place / "audio", save(place / "d.onnx", BANDS), AudioInput(rate=8000, channel_axes=1, features=mel),
                       sounds, task="audio-classification", labels=tuple("abcdef")),
    }  # fmt: skip


KINDS = ("image", "boxes", "text", "audio")


def run(command, cwd, **more):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_the_python_app_gives_the_recorded_answers(bundles, kind, tmp_path):
    deploy_bundle(bundles[kind], Platform.PYTHON, output=tmp_path / "app")
    done = run([sys.executable, "-m", "app", "--golden"], tmp_path / "app")
    assert (done.returncode, done.stdout) == (0, "2 of 2 golden raw inputs give the recorded answer\n"), done.stderr


def test_the_python_app_notices_another_answer_and_names_unreadable_files(bundles, tmp_path):
    deploy_bundle(bundles["image"], Platform.PYTHON, output=tmp_path / "app")
    place = tmp_path / "app" / "app" / "bundle" / "bundle.json"
    manifest = json.loads(place.read_text(encoding="utf-8"))
    manifest["golden"]["raw"][0]["answer"]["classes"][0].update(label="nothing", score=0.99)
    place.write_text(json.dumps(manifest), encoding="utf-8")
    done = run([sys.executable, "-m", "app", "--golden"], tmp_path / "app")
    assert done.returncode == 1
    assert "failed: raw input 0: best is " in done.stdout
    done = run([sys.executable, "-m", "app", "README.md", "no.png", "app/bundle/golden/001.png", "--json"], tmp_path / "app")
    assert done.returncode == 1
    assert "README.md: not an image that can be read" in done.stderr
    assert json.loads(done.stdout)["answer"]["kind"] == "classes"


def test_the_python_app_draws_boxes_and_takes_folders(bundles, tmp_path):
    deploy_bundle(bundles["boxes"], Platform.PYTHON, output=tmp_path / "app")
    done = run([sys.executable, "-m", "app", "app/bundle/golden", "--draw", "drawn"], tmp_path / "app")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "app" / "drawn").iterdir()) == ["000.png", "001.png"]
    assert "cat 0.81" in done.stdout


@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_server_answers_golden_and_bad_requests(bundles, kind, tmp_path):
    for package in ("fastapi", "uvicorn", "python_multipart"):
        pytest.importorskip(package)
    deploy_bundle(bundles[kind], Platform.SERVE, output=tmp_path / "app")
    done = run([sys.executable, "-m", "server.check"], tmp_path / "app")
    assert (done.returncode, done.stdout) == (0, "2 golden raw inputs sent\npassed\n"), done.stderr


JAVASCRIPT = """
import { readFile } from "node:fs/promises";
const { Bundle } = await import("./inference.mjs");
const { disagreement } = await import("./decoding.mjs");
const { Tokenizer } = await import("./text.mjs");
const read = async (name) => new Uint8Array(await readFile(`bundle/${name}`));
const manifest = JSON.parse(await readFile("bundle/bundle.json", "utf8"));
const cases = JSON.parse(await readFile("cases.json", "utf8"));
const Tensor = class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } };
const steps = { letterbox: false, pad: [114], pad_position: "centre", pair: false, ...manifest.preprocessing };
const settings = steps.kind === "tokenizer" ? JSON.parse(await readFile("bundle/tokenizer.json", "utf8")) : null;
const tokenizer = settings && new Tokenizer(settings, steps.max_length);
const result = [];
for (const { input, pixels, outputs, answer } of cases) {
  let feeds = null;
  const session = { run: async (given) => {
    const plain = ([name, { data, dims }]) => [name, { data: Array.from(data, Number), dims }];
    feeds = Object.fromEntries(Object.entries(given).map(plain));
    return Object.fromEntries(Object.entries(outputs).map(([name, one]) => [name, { ...one, type: "float32" }]));
  } };
  const decodeImage = async () => ({ data: Uint8Array.from(pixels.data), width: pixels.width, height: pixels.height });
  const bundle = new Bundle({ Tensor }, manifest, steps, session, tokenizer, decodeImage);
  const found = await bundle.predict("text" in input ? input.text : await read(input.file));
  result.push({ feeds, found, problem: disagreement(found, answer) });
}
console.log(JSON.stringify(result));
"""


@pytest.mark.parametrize("kind", KINDS)
def test_javascript_prepares_and_decodes_what_python_does(bundles, kind, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    deploy_bundle(bundles[kind], Platform.NODE, output=tmp_path / "app")
    bundle = inference("pipeline").Bundle(str(bundles[kind]))
    cases, feeds = [], []
    for entry in bundle.manifest["golden"]["raw"]:
        raw = inference("golden").raw_of(bundle, entry)
        prepared = bundle.prepare(raw)
        outputs = {
            name: {"data": value.ravel().tolist(), "dims": list(value.shape)}
            for name, value in bundle.run(prepared.feeds).items()
        }
        pixels = inference("images").read_pixels(raw) if str(raw).endswith(".png") else np.zeros((1, 1, 3), np.uint8)
        shown = {"data": pixels.ravel().tolist(), "width": pixels.shape[1], "height": pixels.shape[0]}
        cases.append({**entry, "outputs": outputs, "pixels": shown})
        feeds.append(prepared.feeds)
    (tmp_path / "app" / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    done = run([node, "--input-type=module", "-e", JAVASCRIPT], tmp_path / "app")
    assert done.returncode == 0, done.stderr
    for wanted, got in zip(feeds, json.loads(done.stdout), strict=True):
        assert got["problem"] is None
        assert set(got["feeds"]) == set(wanted)
        for name, value in wanted.items():
            assert got["feeds"][name]["dims"] == list(value.shape)
            error = np.abs(np.array(got["feeds"][name]["data"]) - value.ravel().astype(float)).max()
            assert error < 1e-3, f"{name}: largest error {error}"


@pytest.mark.parametrize("platform", list(Platform))
def test_every_project_has_a_makefile_with_three_targets_and_no_marks(bundles, platform, tmp_path):
    project = deploy_bundle(bundles["image"], platform, output=tmp_path / "app")
    makefile = (tmp_path / "app" / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}:" in makefile for target in ("setup", "test", "run"))
    for name in project.files:
        path = tmp_path / "app" / name
        if (
            "bundle/" not in name
            and "inference/" not in name
            and path.suffix in {".py", ".mjs", ".md", ".json", ".html", ".toml", ".cpp", ".kt"}
        ):
            assert "@@" not in path.read_text(encoding="utf-8"), name
    assert [line.split("#")[0].split()[-1] for line in next_commands(project)] == ["setup", "test", "run"]


def test_the_command_prints_the_next_commands_and_refuses_the_rest(bundles, tmp_path):
    runner = CliRunner()
    done = runner.invoke(app, ["deploy", str(bundles["image"]), "--to", "python", "-o", str(tmp_path / "app")])
    assert done.exit_code == 0
    assert f"make -C {tmp_path / 'app'} setup" in done.output
    again = deploy_bundle(bundles["text"], Platform.PYTHON, output=tmp_path / "app")  # its own folder is replaced
    assert "app/bundle/tokenizer.json" in again.files
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(RecipeError, match="holds files that edgeopt deploy did not write"):
        deploy_bundle(bundles["image"], Platform.WEB, output=tmp_path / "mine")
    with pytest.raises(RecipeError, match="lies in the bundle"):
        deploy_bundle(bundles["image"], Platform.WEB, output=bundles["image"] / "app")
    with pytest.raises(RecipeError, match="is the bundle"):
        deploy_bundle(bundles["image"], Platform.WEB, output=bundles["image"])
    broken = tmp_path / "broken"
    shutil.copytree(bundles["image"], broken)
    (broken / "README.md").write_text("changed", encoding="utf-8")
    with pytest.raises(ModelError, match=r"does not verify: files: README\.md"):
        deploy_bundle(broken, Platform.PYTHON, output=tmp_path / "other")


def test_a_full_disk_leaves_nothing_of_a_project(bundles, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(MachineError, match="app: the disk is full"):
        deploy_bundle(next(iter(bundles.values())), Platform.PYTHON, output=tmp_path / "app")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def program(bundles, tmp_path_factory):
    """The C++ program, built once: it is the same for every bundle."""
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"), None)
    if shutil.which("g++") is None or library is None:
        pytest.skip("no C++ compiler, or no libonnxruntime.so beside the package onnxruntime")
    folder = tmp_path_factory.mktemp("cpp")
    deploy_bundle(bundles["image"], Platform.CPP, output=folder / "app")
    found = [name for name in ("jpeglib.h", "png.h") if Path("/usr/include", name).is_file()]
    flags = {"jpeglib.h": ["-DHAVE_JPEG", "-ljpeg"], "png.h": ["-DHAVE_PNG", "-lpng"]}
    command = ["g++", "-std=c++17", "-O1", "-D_GNU_SOURCE", "-Wall", "-Werror", "-o", str(folder / "program")]
    done = run([*command, "src/main.cpp", *(flag for name in found for flag in flags[name]), "-ldl"], folder / "app")
    assert done.returncode == 0, done.stderr
    return [str(folder / "program"), "--library", str(library)], "png.h" in found


@pytest.mark.parametrize("kind", KINDS)
def test_cpp_gives_the_recorded_answers(program, bundles, kind, tmp_path):
    command, reads_png = program
    if kind in ("image", "boxes") and not reads_png:
        pytest.skip("libpng's header is not installed")
    deploy_bundle(bundles[kind], Platform.CPP, output=tmp_path / "app")
    done = run([*command, "--bundle", "bundle", "--table", "unicode.txt", "--golden"], tmp_path / "app")
    assert (done.returncode, done.stdout) == (0, "2 of 2 golden raw inputs give the recorded answer\n"), done.stderr


def test_cpp_answers_bad_input_in_one_line(program, bundles, tmp_path):
    command, _ = program
    deploy_bundle(bundles["image"], Platform.CPP, output=tmp_path / "app")
    good = (bundles["image"] / "golden" / "000.png").read_bytes()
    random = np.random.default_rng(0)
    names = []
    for number in range(60):
        damaged = bytearray(good[: random.integers(1, len(good))] if number % 2 else good)
        damaged[random.integers(0, len(damaged))] ^= 255
        names.append(f"{number}.png")
        (tmp_path / names[-1]).write_bytes(damaged)
    done = run([*command, "--bundle", str(tmp_path / "app" / "bundle"), *names, "missing.png"], tmp_path)
    assert done.returncode == 1, done.stderr
    assert "missing.png: missing.png: cannot be opened" in done.stderr
    (tmp_path / "app" / "bundle" / "bundle.json").write_text('{"schema_version": 3}', encoding="utf-8")
    done = run([*command, "--bundle", str(tmp_path / "app" / "bundle"), names[0]], tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/../../b", "", "a\\b"])
def test_no_app_opens_a_file_outside_of_its_bundle(program, bundles, name, tmp_path):
    command, _ = program
    shutil.copytree(bundles["image"], tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    manifest["model"]["file"] = name
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    done = run([*command, "--bundle", "bundle", "x.png"], tmp_path)
    assert (done.returncode, done.stderr) == (2, "app: bundle.json: a path leaves the bundle; refused\n")
    with pytest.raises(ValueError, match=r"leaves the bundle; refused"):
        inference("pipeline").Bundle(str(tmp_path / "bundle"))
    if (node := shutil.which("node")) is not None:
        script = (
            "const { openBundle } = await import(process.argv[1]); const text = new TextEncoder().encode(process.argv[2]);"
            "const read = async (name) => { if (name !== 'bundle.json') console.log(name); return text; };"
            "await openBundle(null, read).catch((error) => console.log(error.message));"
        )
        deploy_bundle(bundles["image"], Platform.NODE, output=tmp_path / "app")
        done = run([node, "-e", script, str(tmp_path / "app" / "inference.mjs"), json.dumps(manifest)], tmp_path)
        assert done.stdout == f"bundle.json: path {json.dumps(name)} leaves the bundle; refused\n"


def test_docker_and_linux_projects_pass_their_own_checks(bundles, tmp_path):
    for package in ("fastapi", "uvicorn", "python_multipart"):
        pytest.importorskip(package)
    deploy_bundle(bundles["audio"], Platform.DOCKER, output=tmp_path / "docker")
    done = run([sys.executable, "lint.py"], tmp_path / "docker")
    assert (done.returncode, done.stdout) == (0, "Dockerfile: passed (linted, not built)\n")
    (tmp_path / "docker" / "Dockerfile").write_text("FROM python\nCOPY nothing .\nRUM x\n", encoding="utf-8")
    done = run([sys.executable, "lint.py"], tmp_path / "docker")
    assert done.returncode == 1
    assert all(word in done.stdout for word in ("has no tag", "COPY nothing", "RUM is no instruction", "runs as root"))
    deploy_bundle(bundles["audio"], Platform.LINUX, output=tmp_path / "linux")
    done = run([sys.executable, "check.py"], tmp_path / "linux")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "slot a: kept\nslot b: in use" in done.stdout
    if shutil.which("systemd-analyze"):
        done = run(["systemd-analyze", "verify", "--man=no", str(tmp_path / "linux" / "model.service")], tmp_path)
        assert "Unknown" not in done.stderr


def test_the_android_project_is_consistent(bundles, tmp_path):
    deploy_bundle(bundles["text"], Platform.ANDROID, output=tmp_path / "app")
    done = run([sys.executable, "check.py"], tmp_path / "app")
    assert "resources, manifest, native functions and brackets: passed" in done.stdout
    assert (tmp_path / "app/app/src/main/assets/unicode.txt").is_file()
    if "compiled by aapt2" in done.stdout:
        layout = tmp_path / "app/app/src/main/res/layout/main.xml"
        good = layout.read_text(encoding="utf-8")
        layout.write_text(good.replace("android:textSize", "android:texSize"), encoding="utf-8")
        assert "texSize" in run([sys.executable, "check.py"], tmp_path / "app").stdout
        layout.write_text(good, encoding="utf-8")
    (tmp_path / "app/app/src/main/res/values/strings.xml").write_text("<resources></resources>", encoding="utf-8")
    done = run([sys.executable, "check.py"], tmp_path / "app")
    assert "no resource string/choose" in done.stdout


@pytest.mark.parametrize(("kind", "asked"), [("image", ["CAMERA"]), ("audio", ["RECORD_AUDIO"]), ("text", [])])
def test_an_android_app_asks_for_what_its_bundle_takes(bundles, kind, asked, tmp_path):
    deploy_bundle(bundles[kind], Platform.ANDROID, output=tmp_path / "app")
    manifest = (tmp_path / "app/app/src/main/AndroidManifest.xml").read_text(encoding="utf-8")
    assert re.findall(r"android\.permission\.(\w+)", manifest) == asked


def test_an_android_project_runs_its_native_code_where_no_phone_can_be_reached(program, bundles, tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    deploy_bundle(bundles["text"], Platform.ANDROID, output=tmp_path / "app")
    for place, source in (("host/app", program[0][0]), ("lib/libonnxruntime.so", program[0][2])):
        (tmp_path / "app" / place).parent.mkdir()
        (tmp_path / "app" / place).symlink_to(Path(source).resolve())
    done = run(["make", "-s", "GRADLE=none", "run"], tmp_path / "app")
    assert "Gradle or adb is missing" in done.stderr
    (first, *_) = json.loads((bundles["text"] / "bundle.json").read_text(encoding="utf-8"))["golden"]["raw"]
    assert json.loads(done.stdout)["kind"] == first["answer"]["kind"], done.stderr


@pytest.mark.parametrize(("name", "made"), [("8bit v2", "model8bitv2"), ("new", "modelnew"), ("Int8", "int8"), ("!!", "model")])
def test_the_package_of_an_android_app_has_a_name_that_kotlin_takes(bundles, name, made):
    assert project_facts(read_manifest(bundles["image"]).model_copy(update={"name": name}), bundles["image"])["IDENT"] == made


def test_cpp_is_refused_for_what_it_does_not_read(bundles, tmp_path):
    halves = "{ y = Identity (x) }"
    path = save(tmp_path / "h.onnx", f"halves (float16[1, 2] x) => (float16[1, 2] y) {halves}")
    spec = BundleSpec(path, "halves", "generic", "x86-vnni", [{"x": np.ones((1, 2), np.float16)}])
    write_bundle(spec, output=tmp_path / "halves")
    with pytest.raises(ModelError, match="'x' is float16, and the cpp template has bool"):
        deploy_bundle(tmp_path / "halves", Platform.CPP, output=tmp_path / "app")


def test_the_commands_are_words_of_a_shell_and_the_folder_may_be_this_one(bundles, tmp_path, monkeypatch):
    (tmp_path / "my app").mkdir()
    monkeypatch.chdir(tmp_path / "my app")
    project = deploy_bundle(bundles["text"], Platform.NODE, output=Path())
    assert project.commands[0] == f"make -C '{tmp_path / 'my app'}' setup"
    assert (tmp_path / "my app" / "Makefile").is_file()


def test_node_refuses_options_that_it_does_not_have(bundles, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    deploy_bundle(bundles["image"], Platform.NODE, output=tmp_path / "app")
    (tmp_path / "app" / "node_modules" / "onnxruntime-node").mkdir(parents=True)
    (tmp_path / "app" / "node_modules" / "onnxruntime-node" / "index.js").write_text("", encoding="utf-8")
    done = run([node, "main.mjs", "--jsno", "x.png"], tmp_path / "app")
    assert (done.returncode, done.stderr) == (2, "--jsno is no option; usage: node main.mjs INPUT… [--json] [--golden]\n")


def test_the_service_is_not_installed_without_systemd_and_goes_back_by_the_same_program(bundles, tmp_path):
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here")
    deploy_bundle(bundles["audio"], Platform.LINUX, output=tmp_path / "project")
    environment = {**os.environ, "ROOT": str(tmp_path / "root"), "VENV_READY": "1", "PYTHON": sys.executable}

    def install(*words, **more):
        command = [str(tmp_path / "project" / "install.sh"), *words]
        return subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, check=False, timeout=120)

    done = install()
    assert (done.returncode, "systemd does not run here; SYSTEMD=no" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "root").exists()
    assert install("roll", SYSTEMD="no").returncode == 2
    said = [install(*words, SYSTEMD="no").stdout for words in ((), (), ("rollback",))]
    assert said == ["slot a runs\n", "slot b runs\n", "slot a runs\n"]


def test_a_bundle_is_verified_by_the_environment_that_was_installed_with_it(bundles, tmp_path):
    deploy_bundle(bundles["audio"], Platform.LINUX, output=tmp_path / "project")
    python = tmp_path / "root" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho asked >> "{tmp_path}/asked"\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    done = run([sys.executable, "slots.py", "--root", str(tmp_path / "root"), "install", "."], tmp_path / "project")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text(encoding="utf-8") == "asked\n"


def test_a_slot_s_signature_is_not_checked_by_the_bundle_that_it_shall_vouch_for(bundles, tmp_path):
    deploy_bundle(bundles["audio"], Platform.LINUX, output=tmp_path / "project")
    command = [sys.executable, "slots.py", "--root", str(tmp_path / "root")]
    assert run([*command, "install", "."], tmp_path / "project").returncode == 0
    (tmp_path / "project" / "bundle" / "verify.py").write_text("print('passed')\n", encoding="utf-8")
    done = run([*command, "--trusted", str(tmp_path / "key.pub"), "install", "."], tmp_path / "project")
    assert done.returncode == 1, done.stdout
    assert "the new bundle does not verify" in done.stderr


def grey_png(path: Path) -> Path:
    """A grey PNG of 16 bits."""
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900).save(path)
    return path


def deep_png(path: Path) -> Path:
    """A PNG in colours of 16 bits."""
    values = np.random.default_rng(4).integers(0, 1 << 16, (12, 9, 3)).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 9, 12, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def test_a_grey_png_of_16_bits_and_an_answer_without_numbers_are_refused_alike(program, bundles, tmp_path):
    command, reads_png = program
    place = grey_png(tmp_path / "deep.png")
    if reads_png:
        done = run([*command, "--bundle", str(bundles["image"]), str(place)], tmp_path)
        assert (done.returncode, "a grey PNG of 16 bits is not read here" in done.stderr) == (1, True)
        done = run([*command, "--bundle", str(bundles["image"]), str(deep_png(tmp_path / "colours.png"))], tmp_path)
        wanted = inference("pipeline").Bundle(str(bundles["image"])).predict(str(tmp_path / "colours.png"))
        assert json.loads(done.stdout)["classes"][0]["score"] == pytest.approx(wanted["classes"][0]["score"], abs=1e-4)
    if (node := shutil.which("node")) is not None:
        deploy_bundle(bundles["image"], Platform.NODE, output=tmp_path / "app")
        script = """
import { readFile } from "node:fs/promises";
import { disagreement } from "./decoding.mjs";
import { Bundle } from "./inference.mjs";
const steps = { kind: "image" };
const bundle = new Bundle(null, {}, steps, null, null, async () => { throw new Error("decoded"); });
await bundle.predict(new Uint8Array(await readFile(process.argv[1]))).catch((error) => console.log(error.message));
console.log(disagreement({ kind: "embedding", vector: [NaN, 1] }, { kind: "embedding", vector: [1, 1] }));
console.log(disagreement({ kind: "embedding", vector: [0, 0] }, { kind: "embedding", vector: [0, 0] }));
"""
        done = run([node, "--input-type=module", "-e", script, str(place)], tmp_path / "app")
        first, second, third = done.stdout.splitlines()
        assert first == "a grey PNG of 16 bits is not read here; save it with 8"
        assert (second, third) == ("the cosine to the recorded vector is NaN", "null")
