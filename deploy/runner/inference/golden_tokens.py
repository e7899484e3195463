"""The golden tokens of a bundle with a language model (kind llm), checked by `verify.py`; needs numpy alone.

Each sample is a prompt and the tokens that followed, with the margin of each choice: how far its logit was above the next
one. The recorded tokens are fed one after the other (so one difference does not change what follows), with the cache that
the graph returned for those before. At each place the most likely token must be the recorded one, unless the recorded margin
is within the recorded tolerance: processors round differently, and between two equally likely tokens there is no right one.

A sample of an encoder-decoder names its source, arrays in the file ``golden.npz``; what the encoder makes of them are inputs of
every step of the decoder.
"""

from __future__ import annotations

import json
import os
from typing import Any

_LIMIT_BYTES = 16 << 20
_ENCODER, _SOURCES = ("encoder", "model.onnx"), "golden.npz"
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class GoldenTokensError(Exception):
    """The file with the golden tokens does not say what it must say."""


def check(folder: str, manifest: dict[str, Any], session: Any) -> list[tuple[str, str]]:
    """Run the golden prompts of the bundle in `folder` and return (status, detail) of each check."""
    try:
        golden = read_golden_tokens(os.path.join(folder, *manifest["golden"]["file"].split("/")))
        with open(os.path.join(folder, "generation.json"), encoding="utf-8") as file:
            generation = json.load(file)
        encoder = None
        if generation.get("encoder"):
            encoder = open_encoder(os.path.join(folder, *_ENCODER))
            read_sources(os.path.join(folder, _SOURCES), golden)
        right, detail = check_golden_tokens(session, golden, generation, encoder)
    except GoldenTokensError as error:
        return [("failed", f"{manifest['golden']['file']}: {error}"[:300])]
    except Exception as error:  # noqa: BLE001  (of a crafted bundle anything may come)
        return [("failed", f"the golden prompts do not run: {type(error).__name__}: {error}"[:300])]
    return [("passed" if right else "failed", detail)]


def read_golden_tokens(path: str) -> dict[str, Any]:
    """Return the contents of golden.json, checked."""
    if os.path.getsize(path) > _LIMIT_BYTES:
        raise GoldenTokensError(f"larger than {_LIMIT_BYTES} bytes")
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (ValueError, RecursionError) as error:
        raise GoldenTokensError(f"not valid JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("tolerance"), (int, float)):
        raise GoldenTokensError("has no tolerance")
    samples = values.get("samples")
    if not isinstance(samples, list) or not samples:
        raise GoldenTokensError("has no samples")
    for index, sample in enumerate(samples):
        lists: list[Any] = [sample.get(name) if isinstance(sample, dict) else None for name in ("prompt", "tokens", "margins")]
        right = all(isinstance(values, list) and values for values in lists)
        if not right or len(lists[1]) != len(lists[2]) or not all(isinstance(token, int) for token in lists[0] + lists[1]):
            raise GoldenTokensError(f"sample {index} must have prompt, tokens and margins")
    return values


def open_encoder(path: str) -> Any:
    """Return a session of an encoder, on the CPU with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def read_sources(path: str, golden: dict[str, Any]) -> None:
    """Put the arrays that the encoder reads into each sample, as its key "source"; their names begin with its number."""
    import zipfile

    import numpy as np

    with zipfile.ZipFile(path) as file:
        if sum(entry.file_size for entry in file.infolist()) > _LIMIT_BYTES:
            raise GoldenTokensError(f"{_SOURCES} unpacks to more than {_LIMIT_BYTES} bytes")
    with np.load(path, allow_pickle=False) as arrays:
        for index, sample in enumerate(golden["samples"]):
            start = f"{index}."
            sample["source"] = {name[len(start) :]: arrays[name] for name in arrays.files if name.startswith(start)}


def encode(encoder: Any, session: Any, source: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of the decoder that come from its encoder."""
    names = [value.name for value in encoder.get_outputs()]
    made = dict(zip(names, encoder.run(names, source)))
    if "attention_mask" in source:
        made["encoder_attention_mask"] = source["attention_mask"]
    known = {value.name for value in session.get_inputs()}
    return {name: value for name, value in made.items() if name in known}


def check_golden_tokens(
    session: Any, golden: dict[str, Any], generation: dict[str, Any], encoder: Any = None
) -> tuple[bool, str]:
    """Return whether the model chooses the golden tokens, and what was found, in a line."""
    places = equal = close = 0
    for index, sample in enumerate(golden["samples"]):
        constants = encode(encoder, session, sample["source"]) if encoder is not None else {}
        along = logits_along(session, generation, sample["prompt"], sample["tokens"], constants)
        found = [int(row.argmax()) for row in along]
        for place, (have, want) in enumerate(zip(found, sample["tokens"])):
            places += 1
            if have == want:
                equal += 1
            elif sample["margins"][place] <= golden["tolerance"]:
                close += 1
            else:
                margin = f"by {sample['margins'][place]:.3g}, tolerance {golden['tolerance']:.3g}"
                return False, f"sample {index}, token {place}: {have} instead of {want}, which led {margin}"
    detail = f"{equal} of {places} tokens in {len(golden['samples'])} samples as recorded"
    return True, detail + (f" ({close} closer than the tolerance, not judged)" if close else "")


def logits_along(
    session: Any,
    generation: dict[str, Any],
    prompt: list[int],
    tokens: list[int],
    constants: dict[str, Any] = {},  # noqa: B006  (never changed)
) -> list[Any]:
    """Return the logits [vocabulary] after the prompt and after each of `tokens` but the last, one step each.

    `constants` are inputs of every step: what an encoder made.
    """
    import numpy as np

    names, made = generation["inputs"], generation["outputs"]
    inputs = {value.name: value for value in session.get_inputs()}
    layers = range(generation["layers"])
    pairs = [(names[f"past_{part}"] % n, made[f"present_{part}"] % n) for n in layers for part in ("key", "value")]
    shape = (1, generation["kv_heads"], 0, generation["head_size"])
    cache = {past: np.zeros(shape, _TYPES[inputs[past].type]) for past, _ in pairs}
    wanted = [made["logits"]] + [present for _, present in pairs]
    found, start = [], 0
    for part in [prompt] + [[token] for token in tokens[:-1]]:
        total = start + len(part)
        offered = {
            names["tokens"]: np.array([part], np.int64),
            names.get("mask"): np.ones((1, total), np.int64),
            names.get("positions"): np.arange(start, total, dtype=np.int64)[None],
        }
        feeds = {name: value for name, value in offered.items() if name in inputs}
        results = session.run(wanted, {**constants, **feeds, **cache})
        found.append(np.asarray(results[0][0, -1], np.float64))
        cache = {past: value for (past, _), value in zip(pairs, results[1:])}
        start = total
    return found
