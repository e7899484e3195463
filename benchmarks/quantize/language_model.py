"""Weight-only quantization of a small language model: perplexity on held-out text, size, tokens per second, one Markdown table.

    python -m benchmarks.quantize.language_model --data DATA --work FOLDER [--steps 400] [--threads 1]

No small language model is among the data, so one is trained first (Llama's architecture, 4 layers, 256 wide, 2,048 byte-pair
tokens; seeds fixed; about five minutes on one core, kept in FOLDER) on WikiText-2's validation text and the first part of its
test text. The last 400 kB of the test text are held out (400 windows of 128 tokens are used), the 200 kB before them for
calibration. It is exported by edgeopt with its cache, and every row is the file as onnxruntime runs it.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgeopt.batches import Batch
from edgeopt.graph import files as onnx_files
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.targets.target import load_target

_VOCABULARY, _WINDOW, _EVALUATED = 2048, 128, 400
_LAYERS, _HEADS, _SIZE = 4, 4, 64
_HELD_OUT, _CALIBRATION = 400_000, 200_000  # characters
_VARIANTS: list[dict[str, Any]] = [
    {"scheme": "dynamic"},
    {"scheme": "weights-int8", "weights": {"method": "rtn"}},
    *(
        {"scheme": "weights-int4", "weights": {"method": method, "block_size": block}}
        for block in (32, 128)
        for method in ("rtn", "hqq", "gptq")
    ),
    {"scheme": "weights-int4", "weights": {"method": "gptq", "symmetric": True}},
    {"scheme": "weights-int4", "weights": {"method": "gptq", "accuracy_level": 4}},
    {"scheme": "weights-int4", "weights": {"method": "gptq", "embedding_bits": 4}},
]


def main() -> None:
    """Train (once), export, quantize by every variant, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of real data")
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and what becomes of it")
    parser.add_argument("--steps", type=int, default=400, help="training steps of 2,048 tokens")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    training, calibration, held_out = _texts(arguments.data / "text_corpora")
    tokenizer = _tokenizer(training)
    tokens = {name: np.array(tokenizer.encode(text).ids) for name, text in (("calibration", calibration), ("test", held_out))}
    model = arguments.work / f"language-model-{arguments.steps}.onnx"
    if not model.is_file():
        folder = arguments.work / f"trained-{arguments.steps}"
        if not (folder / "config.json").is_file():
            _trained(np.array(tokenizer.encode(training).ids), arguments).save_pretrained(folder)
        _export(folder, model, tokens["calibration"])
    files = {"fp32": model} | _quantized(model, tokens["calibration"], arguments.work)
    print(f"onnxruntime {ort.__version__}, {platform.machine()}, one thread; {_EVALUATED * _WINDOW:,} held-out tokens\n")
    print(_table(files, tokens["test"]))


def _texts(folder: Path) -> tuple[str, str, str]:
    """Return text to train on, to calibrate with, and held out."""
    valid, test = ((folder / f"wikitext2_{name}.txt").read_text(encoding="utf-8") for name in ("valid", "test"))
    first = len(test) - _HELD_OUT - _CALIBRATION
    return valid + test[:first], test[first : first + _CALIBRATION], test[-_HELD_OUT:]


def _tokenizer(text: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def _trained(tokens: NDArray[np.int64], arguments: argparse.Namespace) -> Any:
    """Train a small Llama and return it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=_HEADS * _SIZE,
        intermediate_size=704,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        max_position_embeddings=512,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=arguments.steps, pct_start=0.1)
    generator = np.random.default_rng(0)
    for step in range(arguments.steps):
        starts = generator.integers(0, tokens.size - _WINDOW, 16)
        ids = torch.from_numpy(np.stack([tokens[start : start + _WINDOW] for start in starts]))
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def _export(trained: Path, path: Path, tokens: NDArray[np.int64]) -> None:
    from transformers import LlamaForCausalLM

    from edgeopt.export import ExportConfig, export

    model = LlamaForCausalLM.from_pretrained(trained).eval()
    batches = [_batch(tokens[start : start + 32], past=past) for start, past in ((0, 5), (100, 9))]
    folder = path.with_suffix("")
    export(model, batches, target=load_target("x86-vnni"), output=folder, config=ExportConfig(task="text-generation"))
    onnx_files.save(onnx_files.load(folder / "model.onnx"), path)


def _batch(tokens: NDArray[np.int64], *, past: int = 0) -> Batch:
    """Return the inputs of a prompt, after a cache of `past` positions of zeros."""
    ids = tokens[None]
    length = past + ids.shape[1]
    batch: Batch = {
        "input_ids": ids,
        "attention_mask": np.ones((1, length), dtype=np.int64),
        "position_ids": np.arange(past, length)[None],
    }
    cache = np.zeros((1, _HEADS, past, _SIZE), dtype=np.float32)
    return batch | {f"past_key_values.{layer}.{part}": cache for layer in range(_LAYERS) for part in ("key", "value")}


def _windows(tokens: NDArray[np.int64], count: int) -> Iterator[Batch]:
    for index in range(min(count, tokens.size // _WINDOW)):
        yield _batch(tokens[index * _WINDOW : (index + 1) * _WINDOW])


def _quantized(model: Path, tokens: NDArray[np.int64], work: Path) -> dict[str, Path]:
    """Quantize by every variant; calibrated with 64 windows."""
    files = {}
    for number, variant in enumerate(_VARIANTS):
        options = variant.get("weights", {})
        words = [
            f"block {value}" if key == "block_size" else f"{key} {value}" for key, value in options.items() if key != "method"
        ]
        name = " ".join([variant["scheme"], options.get("method", ""), *words])
        files[name] = work / f"language-model-{number}.onnx"
        quantize(
            model,
            list(_windows(tokens, 64)),
            target=load_target("x86-vnni"),
            output=files[name],
            config=QuantizeConfig.read(variant, where=name),
        )
    return files


def _table(files: dict[str, Path], tokens: NDArray[np.int64]) -> str:
    rows = ["| how | perplexity | against fp32 | MB | tokens/s (× fp32) |", "|---|---|---|---|---|"]
    sessions = {name: _session(path) for name, path in files.items()}
    speeds = _speeds(sessions, tokens)
    base = 0.0
    for name, path in files.items():
        value = _perplexity(sessions[name], tokens)
        base = base or value
        speed = f"{speeds[name]:.0f} ({speeds[name] / speeds['fp32']:.2f})"
        size = onnx_files.size_bytes(path) / 1e6
        rows.append(f"| {name} | {value:.2f} | {value / base - 1:+.2%} | {size:.2f} | {speed} |")
    return "\n".join(rows)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _perplexity(session: ort.InferenceSession, tokens: NDArray[np.int64]) -> float:
    """Return exp of the mean negative log-likelihood of each token given those before it in its window of 128."""
    total, count = 0.0, 0
    for batch in _windows(tokens, _EVALUATED):
        logits = session.run(["logits"], batch)[0][0, :-1].astype(np.float64)
        wanted = batch["input_ids"][0, 1:]
        top = logits.max(axis=1, keepdims=True)
        likelihood = logits[np.arange(wanted.size), wanted] - top[:, 0] - np.log(np.exp(logits - top).sum(axis=1))
        total, count = total - float(likelihood.sum()), count + wanted.size
    return float(np.exp(total / count))


def _speeds(sessions: dict[str, ort.InferenceSession], tokens: NDArray[np.int64]) -> dict[str, float]:
    """Return tokens per second when writing 64 tokens after a prompt of 32, the best of five turns."""
    best = dict.fromkeys(sessions, 0.0)
    for _ in range(5):
        for name, session in sessions.items():
            batch = _batch(tokens[:32])
            produced = session.run(None, batch)
            start = time.perf_counter()
            for _ in range(64):
                produced = session.run(None, _next(session, batch, produced))
            best[name] = max(best[name], 64 / (time.perf_counter() - start))
    return best


def _next(session: ort.InferenceSession, batch: Batch, produced: list[NDArray[Any]]) -> Batch:
    """Return the inputs for the next token, the most likely one."""
    results = dict(zip((value.name for value in session.get_outputs()), produced, strict=True))
    length = results["present.0.key"].shape[2]
    step: Batch = {
        "input_ids": results["logits"][:, -1:].argmax(axis=-1),
        "attention_mask": np.ones((1, length + 1), dtype=np.int64),
        "position_ids": np.array([[length]]),
    }
    return step | {name: results[name.replace("past_key_values", "present")] for name in batch if name.startswith("past")}


if __name__ == "__main__":
    main()
