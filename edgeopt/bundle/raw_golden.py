"""Golden raw inputs: a real image, recording or sentence with the answer that the model gives, from raw data to names.

Golden tensors show that a model computes what it computed; raw inputs show that an app around it prepares and reads as
intended. Every app that `edgeopt deploy` writes runs them through itself (``make test``).
"""

from __future__ import annotations

import io
import shutil
import struct
import wave
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.data.npz import write_npz
from edgeopt.data.preprocessing import ArrayInput, AudioInput, ImageInput, Preprocessing, TokenizerInput
from edgeopt.device_code import inference
from edgeopt.errors import DataError, RecipeError
from edgeopt.graph.signature import Signature
from edgeopt.lifetime import temporary_folder

_FOLDER = "golden"
_LARGEST_BYTES = 4 << 20  # of one raw input
_MOST_NUMBERS = 1 << 14  # of an array in an answer


@dataclass(frozen=True)
class RawSample:
    """One raw input: a text (or two), or the content of a file with its suffix."""

    text: str | tuple[str, str] | None = None
    content: bytes = b""
    suffix: str = ""


def raw_files(files: Sequence[Path], count: int) -> tuple[RawSample, ...]:
    """Return the first `count` files that are small enough to travel as raw inputs."""
    chosen = [file for file in files if file.stat().st_size <= _LARGEST_BYTES][:count]
    return tuple(RawSample(content=file.read_bytes(), suffix=file.suffix.lower()) for file in chosen)


def single_texts(samples: Sequence[RawSample]) -> tuple[RawSample, ...]:
    """Return samples of one text each: the two of a pair one after the other."""
    texts = [
        [sample] if not isinstance(sample.text, tuple) else [RawSample(text=text) for text in sample.text] for sample in samples
    ]
    return tuple(sample for group in texts for sample in group)


def raw_of_samples(samples: Sequence[Batch], preprocessing: Preprocessing, tokenizer: Path | None) -> tuple[RawSample, ...]:
    """Return raw inputs out of prepared ones, where the preprocessing can be undone: images, recordings, texts and arrays."""
    return tuple(raw for sample in samples for raw in _undone(sample, preprocessing, tokenizer))


def _undone(sample: Batch, preprocessing: Preprocessing, tokenizer: Path | None) -> Iterator[RawSample]:
    match preprocessing:
        case ImageInput():
            values = _first(sample[preprocessing.input or next(iter(sample))])
            pixels = _pixels(values, preprocessing)
            if pixels is not None:
                yield RawSample(content=png(pixels), suffix=".png")
        case TokenizerInput():
            text = _text(sample, preprocessing, tokenizer)
            if text:
                yield RawSample(text=text)
        case AudioInput():
            values = _first(sample[preprocessing.input or next(iter(sample))])
            if preprocessing.features is None and not preprocessing.normalise:
                yield RawSample(content=wav(values.reshape(-1), preprocessing.rate), suffix=".wav")
        case ArrayInput():
            buffer = io.BytesIO()
            arrays = {name: value.astype(str) if value.dtype.kind == "O" else value for name, value in sample.items()}
            write_npz(buffer, arrays)
            yield RawSample(content=buffer.getvalue(), suffix=".npz")


def _first(values: Array) -> Array:
    return values[0] if values.ndim > 1 else values


def _pixels(values: Array, steps: ImageInput) -> Array | None:
    """Return uint8 pixels [height, width, channels] in RGB of a model input, or None if it is no image."""
    image = values.transpose(1, 2, 0) if steps.layout == "NCHW" and values.ndim == 3 else values
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        return None
    mean, scale = (np.asarray(numbers, np.float64) for numbers in (steps.mean, steps.scale))
    pixels = np.clip(np.rint(image * scale + mean), 0, 255).astype(np.uint8)
    return pixels[..., ::-1] if steps.colour == "BGR" else pixels


def _text(sample: Batch, steps: TokenizerInput, tokenizer: Path | None) -> str:
    if tokenizer is None or steps.pair:
        return ""
    code = inference("text").Tokenizer(str(tokenizer), steps.max_length)
    return str(code.decode([int(token) for token in _first(sample[steps.input_ids])])).strip()


def png(pixels: Array) -> bytes:
    """Return an image, uint8 [height, width, 1 or 3], as PNG."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def wav(samples: Array, rate: int) -> bytes:
    """Return mono samples in −1…1 as a .wav of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.rint(np.asarray(samples, np.float64) * 32767), -32768, 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def prepared_inputs(
    samples: Sequence[RawSample], preprocessing: Preprocessing, signature: Signature, tokenizer: Path | None
) -> list[dict[str, Array]]:
    """Return the inputs of the model's first run for raw inputs, prepared by the code that travels with the bundle.

    Raises:
        RecipeError: one cannot be prepared.
    """
    tensors = [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in signature.inputs]
    steps = preprocessing.model_dump(mode="json")
    facts = {"preprocessing": steps, "decoding": {"kind": "arrays"}, "inputs": tensors, "outputs": [], "labels": []}
    with temporary_folder() as folder:
        if tokenizer is not None and isinstance(preprocessing, TokenizerInput):
            shutil.copyfile(tokenizer, folder / preprocessing.file)
        bundle = inference("pipeline").Bundle(str(folder), session=object(), manifest=facts)
        found = []
        for index, sample in enumerate(samples):
            entry = _placed(folder, index, sample)
            try:
                prepared = bundle.prepare(entry["text"] if "text" in entry else str(folder / entry["file"]))
            except (ValueError, KeyError, StopIteration) as error:
                raise RecipeError(f"raw input {index} cannot be prepared: {error}; see --preprocessing FILE") from error
            found.append(bundle.first_run(prepared.feeds))
    return found


def record_answers(folder: Path, facts: dict[str, Any], samples: Sequence[RawSample]) -> list[dict[str, Any]]:
    """Write raw inputs below `folder`, run them as the device will, and return them with their answers.

    Args:
        folder: of the bundle that is being written, with its model and its tokenizer.
        facts: the model's part of bundle.json.
        samples: raw inputs.

    Raises:
        RecipeError: one cannot be prepared, or its outputs cannot be decoded.
        DataError: an answer is not finite.
    """
    if not samples:
        return []
    bundle = inference("pipeline").Bundle(str(folder), threads=1, manifest=facts)
    recorded = []
    for index, sample in enumerate(samples):
        entry = _placed(folder, index, sample)
        raw = entry["text"] if "text" in entry else str(folder / entry["file"])
        try:
            answer = bundle.predict(raw)
        except Exception as error:  # (what onnxruntime and numpy raise has no common base)
            said = " ".join(str(error).split())[:300]
            kinds = f"preprocessing ({facts['preprocessing']['kind']}) and decoding ({facts['decoding']['kind']})"
            advice = "do not fit this model: name others with --preprocessing FILE or --decoding FILE"
            raise RecipeError(f"raw input {index} gives no answer: {said}; {kinds} {advice}") from error
        if not _finite(answer):
            raise DataError(f"raw input {index} makes an answer that is not finite; give another sample or fix the model")
        recorded.append({"input": entry, "answer": _thinned(answer) if answer["kind"] == "arrays" else answer})
    return recorded


def _placed(folder: Path, index: int, sample: RawSample) -> dict[str, Any]:
    if sample.text is not None:
        return {"text": sample.text if isinstance(sample.text, str) else list(sample.text)}
    name = f"{_FOLDER}/{index:03d}{sample.suffix}"
    (folder / _FOLDER).mkdir(exist_ok=True)
    (folder / name).write_bytes(sample.content)
    return {"file": name}


def _finite(value: Any) -> bool:
    match value:
        case dict():
            return all(_finite(inner) for inner in value.values())
        case list():
            return all(_finite(inner) for inner in value)
        case float():
            return bool(np.isfinite(value))
        case _:
            return True


def _thinned(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of arrays whose large ones have every `step`-th value alone."""
    arrays = {}
    for name, array in answer["arrays"].items():
        step = -(-len(array["values"]) // _MOST_NUMBERS)
        arrays[name] = {**array, "values": array["values"][::step], "step": step} if step > 1 else array
    return {**answer, "arrays": arrays}
