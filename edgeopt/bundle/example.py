"""Run a bundle's own example.py on raw data, as its receiver will, before the bundle counts as verified."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edgeopt.batches import Array
from edgeopt.bundle.raw_golden import wav
from edgeopt.data.npz import write_npz
from edgeopt.data.preprocessing import ArrayInput, AudioInput, ImageInput, Preprocessing, TokenizerInput
from edgeopt.errors import RecipeError
from edgeopt.escaping import one_line
from edgeopt.lifetime import run, temporary_folder

_QUESTION = "What jumps over the dogs?"
_TEXT = "A quick brown fox jumps over 13 lazy dogs."
_PATIENCE_S = 300.0


def try_example(folder: Path, preprocessing: Preprocessing, sample: Mapping[str, Array]) -> str:
    """Run example.py in `folder` on a raw input of the kind that `preprocessing` takes, and return what was done.

    Args:
        folder: of the bundle.
        preprocessing: of the bundle; an image is one of our own drawing, a text one of our own words.
        sample: a golden sample, which is the raw input where there is no preprocessing.

    Raises:
        RecipeError: it fails; says how the preprocessing and the model disagree.
    """
    with temporary_folder("edgeopt-example-") as place:
        raw, what = _raw(place, preprocessing, sample)
        command = [sys.executable, "-P", str(folder / "example.py"), *raw]
        try:
            done = run(command, timeout_s=_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise RecipeError(f"example.py did not end within {_PATIENCE_S:.0f} s on {what}") from error
    if done.returncode == 0:
        return f"example.py ran on {what}"
    said = one_line(" ".join(done.stderr.rpartition("example: ")[2].split())) or "it said nothing"
    if find_spec("tokenizers") is None and "package tokenizers" in said:
        return f"example.py was not run, since the package tokenizers is not installed here: {what}"
    raise RecipeError(
        f"the bundle's example.py does not run on {what}: {said[:300]}; its preprocessing ({preprocessing.kind}) is not this "
        f"model's: name another with --preprocessing FILE"
    )


def _raw(place: Path, preprocessing: Preprocessing, sample: Mapping[str, Array]) -> tuple[list[str], str]:
    """Return what example.py gets on its command line, and what it is."""
    match preprocessing:
        case ImageInput(width=width, height=height):
            rows, columns = np.mgrid[0 : height * 5 // 4 + 1, 0 : width * 4 // 3 + 1]
            pixels = np.stack([rows * 3 % 256, columns * 5 % 256, (rows + columns) * 7 % 256], axis=-1).astype(np.uint8)
            np.save(place / "image.npy", pixels)
            return [str(place / "image.npy")], f"an image of {pixels.shape[1]}×{pixels.shape[0]} pixels"
        case TokenizerInput(pair=True):
            return [_QUESTION, _TEXT], f"the texts '{_QUESTION}' and '{_TEXT}'"
        case TokenizerInput():
            return [_TEXT], f"the text '{_TEXT}'"
        case AudioInput(rate=rate, length=length, chunk=chunk):
            count = max(length or rate, chunk or 0)
            tone = 0.3 * np.sin(np.arange(count) * (2 * np.pi * 440 / rate))
            (place / "tone.wav").write_bytes(wav(tone, rate))
            return [str(place / "tone.wav")], f"{count} samples of a tone"
        case ArrayInput():
            arrays = {name: value.astype(str) if value.dtype.kind == "O" else value for name, value in sample.items()}
            with (place / "arrays.npz").open("wb") as file:
                write_npz(file, arrays)
            return [str(place / "arrays.npz")], "the arrays of the first golden sample"
