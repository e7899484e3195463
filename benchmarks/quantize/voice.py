"""A recurrent model: the voice detector silero, quantized and then run frame by frame on a minute of speech, state and all.

    python -m benchmarks.quantize.voice --data DATA --work FOLDER

Its errors feed back through the LSTM's state, so each model carries its own. Judged by the share of frames with the same
answer as floating point (probability above 0.5) and by the mean difference of the probabilities. Calibration: 128 frames of the
first half with the states that floating point has there; evaluation: all frames of the second half.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.quantize import contenders

_FRAME, _CONTEXT, _RATE = 512, 64, 16_000


def main() -> None:
    """Quantize with edgeopt and onnxruntime, run, and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    model = arguments.data / "silero_vad" / "silero_vad_16k_op15.onnx"
    frames = _frames(arguments.data / "silero_vad" / "test.wav")
    half = len(frames) // 2
    samples = arguments.work / "silero-samples"
    samples.mkdir(parents=True, exist_ok=True)
    _, states = _walk(model, frames)
    for number in np.random.default_rng(0).permutation(half)[:128]:
        np.savez(samples / f"{number:05d}.npz", **_inputs(model, frames[number], states[number]))
    files = {"fp32": model}
    programs = contenders.programs("silero")
    for name in ("edgeopt", "onnxruntime, defaults", "onnxruntime, hand-picked"):
        output = arguments.work / f"silero-{name.replace(', ', '-')}.onnx"
        contenders.run(programs[name], contenders.here(), model, samples, output)
        outcome = contenders.read_outcome(output)
        if outcome.failure:
            print(f"- {name} failed: {outcome.failure}")
        else:
            files[name] = output
    print("| how | same answer | mean difference | speech | × fp32 | MB |\n|---|---|---|---|---|---|")
    heard = {name: _walk(path, frames)[0][half:] for name, path in files.items()}
    spent = _times(files, frames[half:], states[half])
    for name, path in files.items():
        same = np.mean((heard[name] > 0.5) == (heard["fp32"] > 0.5))
        off = np.abs(heard[name] - heard["fp32"]).mean()
        ratio = np.median(np.array(spent["fp32"]) / np.array(spent[name]))
        print(
            f"| {name} | {same:.4f} | {off:.4f} | {np.mean(heard[name] > 0.5):.3f} "
            f"| {ratio:.2f} | {path.stat().st_size / 1e6:.2f} |"
        )


def _frames(path: Path) -> NDArray[np.float32]:
    """Return [n, context + frame] at 16 kHz, each frame behind the end of the one before it."""
    from scipy.io import wavfile

    _, wave = wavfile.read(path)
    wave = np.concatenate([np.zeros(_CONTEXT, np.float32), wave.astype(np.float32) / 32768])
    return np.stack([wave[i : i + _CONTEXT + _FRAME] for i in range(0, len(wave) - _CONTEXT - _FRAME + 1, _FRAME)])


def _inputs(model: Path, frame: NDArray[np.float32], state: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
    wanted = {value.name for value in _session(model).get_inputs()}
    given = {"input": frame[None], "state": state, "sr": np.array(_RATE, dtype=np.int64)}
    return {name: value for name, value in given.items() if name in wanted}


_SESSIONS: dict[Path, ort.InferenceSession] = {}


def _session(path: Path) -> ort.InferenceSession:
    if path not in _SESSIONS:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        _SESSIONS[path] = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return _SESSIONS[path]


def _walk(path: Path, frames: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Return the probability of speech for each frame, and the state before it."""
    session, state = _session(path), np.zeros((2, 1, 128), np.float32)
    heard, states = [], []
    for frame in frames:
        states.append(state)
        probability, state = session.run(None, _inputs(path, frame, state))[:2]
        heard.append(probability.reshape(-1)[0])
    return np.array(heard), states


def _times(files: dict[str, Path], frames: NDArray[np.float32], state: NDArray[np.float32]) -> dict[str, list[float]]:
    """Return the seconds of each frame, the models in turns."""
    spent: dict[str, list[float]] = {name: [] for name in files}
    for frame in frames[:400]:
        for name, path in files.items():
            inputs = _inputs(path, frame, state)
            begin = time.perf_counter()
            _session(path).run(None, inputs)
            spent[name].append(time.perf_counter() - begin)
    return spent


if __name__ == "__main__":
    main()
