"""Write a bundle of the kind llm: a language model that talks, and proves on the device that it says what it said.

    model.onnx …          the graph and its weights             chat.py, engine/     talk with it: the engine that edgeopt runs
    generation.json       what the engine must know             golden.json          prompts, the tokens that followed, margins
    genai_config.json     the same for onnxruntime-genai        quality.json         perplexity and KL, where they were measured
    tokenizer.json …      tokens and the chat template          verify.py, inference/    check all of it

A golden token is judged only where its margin is larger than what two ways to compute it differ by: the logits of the whole
text at once, and of one token after the other. `chat.py` is run before the bundle counts as verified; its speed and memory
are recorded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt import files
from edgeopt._folders import shipped
from edgeopt.bundle import write
from edgeopt.bundle.golden import FLOORS, MARGIN, arithmetic_of
from edgeopt.bundle.llm_readme import llm_readme
from edgeopt.bundle.result import BundleResult
from edgeopt.bundle.sign import load_private_key, sign_bundle
from edgeopt.bundle.spec import SCHEMA_VERSION
from edgeopt.data.preprocessing import ArrayInput
from edgeopt.device_code import inference, inference_folder
from edgeopt.errors import InternalError, ModelError
from edgeopt.generate.engine.description import GENAI_FILE, GENERATION_FILE, Description
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.faults import engine_errors
from edgeopt.generate.opening import KIND, open_engine
from edgeopt.graph import files as onnx_files
from edgeopt.graph.requirements import minimum_onnxruntime, opsets
from edgeopt.lifetime import run
from edgeopt.machine import describe
from edgeopt.tasks.decoding import Arrays

PROMPTS = (
    "What is the capital of France?",
    "Write a sentence about the sea.",
    "One, two, three, four,",
    "def add(a, b):",
)
_TOKENS = 16
_TEXTS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "config.json", "generation_config.json")
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class LanguageModelSpec:
    """Content of a bundle with a language model."""

    model: Path
    """Its folder or ONNX file, as edgeopt export or quantize wrote it."""
    name: str
    """Name of the bundle in its README."""
    target: str
    """Name of the target it was made for."""
    prompts: tuple[str, ...] = PROMPTS
    """What the golden answers answer; through the chat template where the model has one."""
    licence: str = ""
    """Licence of the model."""


def write_language_model(spec: LanguageModelSpec, *, output: Path, sign: Path | None = None) -> BundleResult:
    """Write the bundle that `spec` describes to the folder `output`, replacing a bundle that is there.

    Raises:
        ModelError: the model does not generate, or `chat.py` does not run with it.
        RecipeError: `output` is no bundle.
        MachineError: the disk is full or cannot be written; the previous content of `output` is intact.
    """

    def fill(folder: Path) -> dict[str, Any]:
        engine = open_engine(spec.model, threads=1)
        model = onnx_files.load(engine.described.model)
        golden = record_tokens(engine, spec.prompts, arithmetic=arithmetic_of(model))
        _copy(engine.described, folder)
        (folder / "golden.json").write_text(as_json(golden), encoding="utf-8")
        raw = [] if (folder / "chat_template.jinja").is_file() else ["--raw"]
        envelope = tried([str(folder / "chat.py"), "Hello", *raw])
        facts = facts_of(spec, engine.described, model, golden, envelope)
        (folder / "README.md").write_text(llm_readme(spec.name, facts), encoding="utf-8")
        return facts

    return assemble(fill, output=output, name=spec.name, sign=sign)


def assemble(fill: Callable[[Path], dict[str, Any]], *, output: Path, name: str, sign: Path | None) -> BundleResult:
    """Write a bundle: `fill` writes its files into a folder beside `output`, which takes its place once it verifies.

    `fill` returns bundle.json without the list of files.
    """
    output = Path(output)
    write.refuse_foreign(output)
    if sign is not None:
        load_private_key(sign)
    with files.disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        files.remove_leftovers(output)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=files.aside_prefix(output), suffix=".part") as parent:
            aside = Path(parent) / output.name
            aside.mkdir()
            facts = fill(aside)
            manifest = write.seal(aside, facts)
            checks = (*write.checked(aside), f"decoding: {facts['generation']['decode_tokens_per_s']:.1f} tokens/s")
            if sign is not None:
                sign_bundle(aside, sign, name=name)
            write.flush_all(aside)
            result = write.result_of(output, aside, manifest, checks)
            write.take_place(aside, output, Path(parent) / "replaced")
            files.flush(output.parent)
    return result


def record_tokens(engine: Engine, prompts: tuple[str, ...], *, arithmetic: str) -> dict[str, Any]:
    """Return the content of golden.json: for each prompt the greedy tokens and the margin of each.

    A margin is the logit of the token minus that of the best other one; 0 where another way to compute chose differently.
    """
    generation = generation_values(engine.described)
    samples, difference, peak = [], 0.0, 0.0
    for text in prompts:
        with engine_errors():
            if engine.template is not None:
                prompt = engine.prompt([{"role": "user", "content": text}])
            else:
                prompt = engine.tokens.encode(text)
            tokens = list(engine.generate(prompt, Sampling(max_tokens=_TOKENS)).tokens)
            along = np.stack(inference("golden_tokens").logits_along(engine.session, generation, prompt, tokens))
            at_once = engine.logits([*prompt, *tokens[:-1]])[len(prompt) - 1 :]
        difference = max(difference, float(np.abs(along - at_once).max()))
        peak = max(peak, float(np.abs(along).max()))
        samples.append({"text": text, "prompt": prompt, "tokens": tokens, "margins": margins_of(along, tokens)})
    return golden_values(samples, difference=difference, peak=peak, arithmetic=arithmetic)


def golden_values(samples: list[dict[str, Any]], *, difference: float, peak: float, arithmetic: str) -> dict[str, Any]:
    """Return the content of golden.json.

    Args:
        samples: prompts, tokens and margins.
        difference: largest one between the logits token by token and of the whole text at once.
        peak: the largest logit.
        arithmetic: a key of the floors of the tolerance.
    """
    tolerance = float(f"{max(FLOORS[arithmetic] * peak, MARGIN * difference):.3g}")
    reason = (
        f"the larger of {MARGIN:g} × {difference:.3g} (token by token against the whole text at once) and "
        f"{FLOORS[arithmetic]:g} × {peak:.3g} (largest logit, {arithmetic} arithmetic)"
    )
    return {"version": 1, "tolerance": tolerance, "reason": reason, "samples": samples}


def margins_of(logits: Any, tokens: list[int]) -> list[float]:
    """Return by how much the logit of each token is above the best other one, 0 where it is not."""
    chosen = logits[np.arange(len(tokens)), tokens]
    others = logits.copy()
    others[np.arange(len(tokens)), tokens] = -np.inf
    return [float(f"{max(0.0, margin):.4g}") for margin in chosen - others.max(-1)]


def generation_values(described: Description) -> dict[str, Any]:
    """Return the content of generation.json for a decoder."""
    names = described.names
    return {
        "version": 1,
        "form": "decoder-cpu" if described.shared_cache else "portable",
        "model": "model.onnx",
        "layers": described.layers,
        "heads": described.kv_heads,
        "kv_heads": described.kv_heads,
        "head_size": described.head_size,
        "vocabulary": described.vocabulary,
        "context": described.context,
        "cache_type": described.cache_type,
        "shared_cache": described.shared_cache,
        "eos": list(described.eos),
        "bos": described.bos,
        "pad": None,
        "suppress": list(described.suppressed),
        "inputs": {
            "tokens": names.tokens,
            "mask": names.mask,
            "positions": names.positions,
            "asked": names.asked,
            "past_key": names.past_key,
            "past_value": names.past_value,
        },
        "outputs": {"logits": names.logits, "present_key": names.present_key, "present_value": names.present_value},
    }


def _copy(described: Description, folder: Path) -> None:
    """Copy the model, what it needs to read and write text, the engine and the programs."""
    model = described.model
    sources = {"model.onnx": model, "tokenizer.json": model.parent / "tokenizer.json"}
    for path in onnx_files.external_files(model):
        sources[path.relative_to(model.parent).as_posix()] = path
    for name in (*_TEXTS, GENERATION_FILE, GENAI_FILE):
        if (model.parent / name).is_file():
            sources[name] = model.parent / name
    quality = model.with_suffix(".quality.json")
    if quality.is_file():
        sources["quality.json"] = quality
    copy_files({**sources, **programs("chat.py")}, folder)
    if GENERATION_FILE not in sources or model.name != "model.onnx":
        (folder / GENERATION_FILE).write_text(as_json(generation_values(described)), encoding="utf-8")


def programs(name: str) -> dict[str, Path]:
    """Return the code of a bundle by its place in it: the engine, verify.py, and the program `name` of the template."""
    from edgeopt.generate import engine

    found = {f"engine/{path.name}": path for path in sorted(Path(engine.__file__).parent.glob("*.py"))}
    deploy = shipped("deploy")
    found |= {"verify.py": deploy / "runner" / "verify.py", name: deploy / "templates" / "python" / name}
    return found | {f"inference/{one}": inference_folder() / one for one in ("__init__.py", "golden_tokens.py")}


def copy_files(sources: Mapping[str, Path], folder: Path) -> None:
    """Copy files to their places in `folder`."""
    for name, path in sources.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def tried(program: list[str]) -> dict[str, Any]:
    """Run a program of the bundle (its path, and arguments) as its receiver will; return its speeds and its peak memory.

    Raises:
        ModelError: it fails.
    """
    name = Path(program[0]).name
    command = [sys.executable, "-P", *program, "--json", "--max-tokens", "32", "--threads", "1"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = run(command, timeout_s=_PATIENCE_S, environment=environment)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{name} did not answer within {_PATIENCE_S:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(f"the bundle's {name} does not run: {said[:300]}")
    try:
        values = json.loads(done.stdout)
    except (ValueError, RecursionError) as error:
        raise InternalError(f"{name} did not print JSON: {done.stdout[:200]}") from error
    machine = describe()
    speeds = {key: round(values[key], 2) for key in ("prefill_tokens_per_s", "decode_tokens_per_s")}
    facts = {"processor": machine["processor"], "threads": 1, "prompt_tokens": values["prompt_tokens"]}
    return {**speeds, **facts, "answer_tokens": len(values["tokens"]), "peak_rss_bytes": values["peak_rss_bytes"]}


def facts_of(
    spec: LanguageModelSpec, described: Description, model: Any, golden: Mapping[str, Any], envelope: Mapping[str, Any]
) -> dict[str, Any]:
    """Return bundle.json without the list of files."""
    signature = onnx_files.signature(model)
    folder = described.model.parent
    sizes = [path.stat().st_size for path in (described.model, *onnx_files.external_files(described.model))]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "name": spec.name,
        "task": "text-generation",
        "target": spec.target,
        "model": {
            "file": "model.onnx",
            "external_data": [path.relative_to(folder).as_posix() for path in onnx_files.external_files(described.model)],
            "opsets": opsets(model),
            "ir_version": model.ir_version,
            "arithmetic": arithmetic_of(model),
            "minimum_onnxruntime": minimum_onnxruntime(model),
        },
        "inputs": [{"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} for one in signature.inputs],
        "outputs": [{"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} for one in signature.outputs],
        "dynamic_axes": sorted({axis for one in signature.inputs for axis in one.shape if isinstance(axis, str)}),
        "preprocessing": ArrayInput().model_dump(mode="json"),
        "decoding": Arrays().model_dump(mode="json"),
        "labels": [],
        "architectures": write.architectures(model),
        "origins": [],
        "licences": {"model": spec.licence} if spec.licence else {},
        "recipe": None,
        "versions": write.versions_of({}),
        "golden": {
            "file": "golden.json",
            "samples": len(golden["samples"]),
            "machine": describe()["machine"],
            "provider": "CPUExecutionProvider",
            "tolerances": [
                {
                    "output": one.name,
                    "absolute": golden["tolerance"],
                    "relative": 0.0,
                    "top1": False,
                    "reason": golden["reason"],
                }
                for one in signature.outputs
            ],
            "raw": [],
        },
        "generation": {
            **envelope,
            "context": described.context,
            "cache_bytes_per_token": described.cache_bytes_per_token,
            "model_bytes": sum(sizes),
        },
    }


def as_json(values: Mapping[str, Any]) -> str:
    """Return `values` as the text of a JSON file."""
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
