"""Latency of an exported text encoder beside the same model from other exporters, in one process, run by run in turns.

    python benchmarks/export/latency.py MODEL_FOLDER [--lengths 16 64 128] [--runs 200] [--also NAME=FILE.onnx]…

Compared are edgeopt's graph, plain torch.onnx.export at opsets 20 and 24, and both of those after onnxruntime's transformer
optimizer. A graph of an exporter from another environment (optimum-onnx needs transformers 4) is passed with --also.
The ratio is the median over rounds of (this graph's time / edgeopt's time in the same round), with a 99 % interval from order
statistics; above 1 edgeopt is faster.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from transformers import AutoModelForSequenceClassification

from edgeopt.export import export
from edgeopt.export.family import random_samples
from edgeopt.export.registry import family_of
from edgeopt.graph.session import open_session
from edgeopt.targets.target import load_target

_NAMES = ("input_ids", "attention_mask", "token_type_ids")


class _Plain(torch.nn.Module):
    """What one writes by hand to export a classifier: the three inputs in, the logits out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def plain(model, path: Path, opset: int) -> Path:
    """Export as torch's documentation shows."""
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=512)
    example = {name: torch.ones(2, 9, dtype=torch.int64) for name in _NAMES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Plain(model),
            kwargs=example,
            f=str(path),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes={name: {0: batch, 1: sequence} for name in _NAMES},
            external_data=False,
            verbose=False,
        )
    return path


def optimized(path: Path, config) -> Path:
    """Run onnxruntime's transformer optimizer on the graph at `path`."""
    from onnxruntime.transformers.optimizer import optimize_model

    done = path.with_name(f"{path.stem}_optimized.onnx")
    optimize_model(
        str(path), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size
    ).save_model_to_file(str(done))
    return done


def interleaved(sessions: list[ort.InferenceSession], length: int, runs: int) -> np.ndarray:
    """Return milliseconds [runs, sessions]; each round runs every session once."""
    rng = np.random.default_rng(0)
    batch = {
        "input_ids": rng.integers(1000, 20000, (1, length)),
        "attention_mask": np.ones((1, length), np.int64),
        "token_type_ids": np.zeros((1, length), np.int64),
    }
    feeds = [{value.name: batch[value.name] for value in session.get_inputs()} for session in sessions]
    taken = np.zeros((runs, len(sessions)))
    for round_ in range(-20, runs):
        for index, (session, feed) in enumerate(zip(sessions, feeds, strict=True)):
            started = time.perf_counter()
            session.run(None, feed)
            if round_ >= 0:
                taken[round_, index] = (time.perf_counter() - started) * 1e3
    return taken


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the median and its 99 % interval, by the binomial distribution of ranks (normal approximation)."""
    ordered = np.sort(values)
    half = 2.576 * np.sqrt(len(ordered)) / 2
    low, high = int(np.floor(len(ordered) / 2 - half)), int(np.ceil(len(ordered) / 2 + half))
    return float(np.median(ordered)), float(ordered[max(low, 0)]), float(ordered[min(high, len(ordered) - 1)])


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--also", nargs="*", default=[])
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, dtype=torch.float32).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = family_of(model.config.model_type).tasks["text-classification"]
        samples = random_samples(task, model.config)
        files = {"edgeopt": export(model, samples, target=load_target("x86-vnni"), output=folder / "edgeopt").path}
        for opset in (20, 24):
            files[f"torch, opset {opset}"] = plain(model, folder / f"plain{opset}.onnx", opset)
            files[f"torch, opset {opset}, optimized"] = optimized(files[f"torch, opset {opset}"], model.config)
        files |= {entry.split("=")[0]: Path(entry.split("=", 1)[1]) for entry in arguments.also}
        sessions = [open_session(path) for path in files.values()]
        taken = {length: interleaved(sessions, length, arguments.runs) for length in arguments.lengths}
        counts = [Counter(node.op_type for node in onnx.load(path).graph.node) for path in files.values()]
    print("| graph | nodes | Attention | " + " | ".join(f"{length} tokens, ms | ratio" for length in taken) + " |")
    print("|---|---|---|" + "---|---|" * len(taken))
    for index, label in enumerate(files):
        cells = []
        for times in taken.values():
            median, low, high = median_interval(times[:, index] / times[:, 0])
            cells.append(f"{np.median(times[:, index]):.2f} | {median:.3f} ({low:.3f} to {high:.3f})")
        fused = sum(count for op, count in counts[index].items() if "Attention" in op)
        print(f"| {label} | {counts[index].total()} | {fused} | " + " | ".join(cells) + " |")
    print(f"\nonnxruntime {ort.__version__}, one thread, {arguments.runs} rounds after 20 of warm-up, batch 1.")


if __name__ == "__main__":
    main()
