"""Write a bundle with an encoder-decoder: it translates, summarizes or transcribes, and proves on the device what it says.

    encoder/ decoder/     the two graphs, tokenizer, configurations            generate.py, engine/      run it
    golden.json           start tokens, tokens that followed, margins          golden.npz                what the encoder read
    generation.json       what the loop must know of the decoder               verify.py, inference/     check all of it

It is a bundle of the kind llm (`edgeopt.bundle.language_model`), whose golden prompts have a source each.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.batches import Array
from edgeopt.bundle.golden import arithmetic_of
from edgeopt.bundle.language_model import (
    LanguageModelSpec,
    as_json,
    assemble,
    copy_files,
    facts_of,
    generation_values,
    golden_values,
    margins_of,
    programs,
    tried,
)
from edgeopt.bundle.llm_readme import encoder_decoder_readme
from edgeopt.bundle.result import BundleResult
from edgeopt.device_code import inference
from edgeopt.generate.engine.description import GENERATION_FILE
from edgeopt.generate.engine.encoder_decoder import EncoderDecoder
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.faults import engine_errors
from edgeopt.generate.opening import open_encoder_decoder
from edgeopt.graph import files as onnx_files
from edgeopt.graph.requirements import latest, minimum_onnxruntime

SENTENCES = (
    "translate English to German: The house is small and the garden is large.",
    "The weather was fine yesterday, and they walked along the river until it was dark.",
    "One, two, three, four,",
)
_TONES_HZ = ((220.0, 440.0), (330.0, 1200.0))
_RATE_HZ = 16000
_SECONDS = 2
_TOKENS = 16
_EXAMPLE = "example.wav"
_TEXTS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json", "generation_config.json")


def write_encoder_decoder(spec: LanguageModelSpec, *, output: Path, sign: Path | None = None) -> BundleResult:
    """Write the bundle of the encoder-decoder in the folder `spec.model` to the folder `output`, replacing a bundle there.

    Raises:
        ModelError: the model does not generate, or `generate.py` does not run with it.
        RecipeError: `output` is no bundle.
        MachineError: the disk is full or cannot be written; the previous content of `output` is intact.
    """

    def fill(folder: Path) -> dict[str, Any]:
        runner = open_encoder_decoder(spec.model, threads=1)
        encoder, decoder = (onnx_files.load(spec.model / half / "model.onnx") for half in ("encoder", "decoder"))
        arithmetic = arithmetic_of(encoder, decoder)
        sources = golden_sources(runner)
        golden, read = record_answers(runner, sources, arithmetic=arithmetic)
        copy_files({**_model_files(spec.model), **programs("generate.py")}, folder)
        if isinstance(sources[0], bytes):
            (folder / _EXAMPLE).write_bytes(sources[0])
        values = {**generation_values(runner.described), "model": "decoder/model.onnx", "encoder": "encoder/model.onnx"}
        (folder / GENERATION_FILE).write_text(as_json(values), encoding="utf-8")
        (folder / "golden.json").write_text(as_json(golden), encoding="utf-8")
        np.savez_compressed(folder / "golden.npz", allow_pickle=False, **read)
        example = sources[0] if isinstance(sources[0], str) else str(folder / _EXAMPLE)
        facts = facts_of(spec, runner.described, decoder, golden, tried([str(folder / "generate.py"), example]))
        facts["model"]["arithmetic"] = arithmetic
        facts["model"]["minimum_onnxruntime"] = latest(*map(minimum_onnxruntime, (encoder, decoder)))
        _name_both_graphs(facts, spec.model, hears=runner.hears)
        (folder / "README.md").write_text(encoder_decoder_readme(spec.name, facts), encoding="utf-8")
        return facts

    return assemble(fill, output=output, name=spec.name, sign=sign)


def golden_sources(runner: EncoderDecoder) -> list[str | bytes]:
    """Return the golden sources of a model: texts, as much of each as it reads, or sounds."""
    if runner.listening is not None:
        return [sound(*tones, seconds=min(_SECONDS, runner.listening.seconds)) for tones in _TONES_HZ]
    return [shortened(text, runner) for text in SENTENCES]


def shortened(text: str, runner: EncoderDecoder) -> str:
    """Return the text, or the half, the quarter, … of it that the model reads."""
    if runner.longest is None or len(text) < 2 or len(runner.tokens.encode(text)) <= runner.longest:
        return text
    return shortened(text[: len(text) // 2], runner)


def record_answers(
    runner: EncoderDecoder, sources: list[str | bytes], *, arithmetic: str
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the content of golden.json, and of golden.npz: the arrays that the encoder reads, ``NUMBER.NAME``."""
    code, generation = inference("golden_tokens"), generation_values(runner.described)
    samples: list[dict[str, Any]] = []
    read: dict[str, Array] = {}
    difference = peak = 0.0
    for index, source in enumerate(sources):
        with engine_errors():
            answer = runner.generate(source, Sampling(max_tokens=_TOKENS))
            feeds = next(runner.read(source))
            prompt = runner.prompt(runner.encode(feeds))
            tokens = list(answer.tokens)
            at_once = runner.encode(feeds).extend(0, [*prompt, *tokens[:-1]], want=len(tokens))
            constants = code.encode(runner.encoder, runner.decoder, feeds)
            along = np.stack(code.logits_along(runner.decoder, generation, prompt, tokens, constants))
        read |= {f"{index}.{name}": array for name, array in feeds.items()}
        difference = max(difference, float(np.abs(along - at_once).max()))
        peak = max(peak, float(np.abs(along).max()))
        said = {"text": source if isinstance(source, str) else f"a sound, {index}", "answer": answer.text}
        samples.append({**said, "prompt": prompt, "tokens": tokens, "margins": margins_of(along, tokens)})
    return golden_values(samples, difference=difference, peak=peak, arithmetic=arithmetic), read


def sound(first_hz: float, last_hz: float, *, seconds: int) -> bytes:
    """Return a .wav file: a tone that rises from `first_hz` to `last_hz` and swells four times a second."""
    time = np.arange(_RATE_HZ * seconds) / _RATE_HZ
    turns = first_hz * time + (last_hz - first_hz) * time**2 / (2 * seconds)
    values = 0.4 * np.sin(2 * np.pi * turns) * (0.6 - 0.4 * np.cos(8 * np.pi * time))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(_RATE_HZ)
        out.writeframes((values * 2**15).astype("<i2").tobytes())
    return file.getvalue()


def _model_files(folder: Path) -> dict[str, Path]:
    """Return the files of the model by their place in the bundle: both graphs, weights, tokenizer, configurations."""
    found = {}
    for half in ("encoder", "decoder"):
        model = folder / half / "model.onnx"
        for path in (model, *onnx_files.external_files(model)):
            found[f"{half}/{path.relative_to(model.parent).as_posix()}"] = path
    for name in (*_TEXTS, "preprocessor_config.json"):
        if (folder / "decoder" / name).is_file():
            found[f"decoder/{name}"] = folder / "decoder" / name
    return found


def _name_both_graphs(facts: dict[str, Any], folder: Path, *, hears: bool) -> None:
    """Correct what bundle.json says of the model: its task, and the places of its two graphs."""
    weights = [name for name in _model_files(folder) if not name.endswith((".onnx", ".json"))]
    facts["task"] = "automatic-speech-recognition" if hears else "text2text-generation"
    facts["model"] |= {"file": "decoder/model.onnx", "external_data": weights}
    facts["generation"]["model_bytes"] = sum(
        path.stat().st_size for name, path in _model_files(folder).items() if not name.endswith(".json")
    )
