"""Greedy decoding with an exported decoder and in PyTorch without a cache: both must give the same tokens.

A cache can be subtly wrong in many ways (positions, masks, the order of heads) that a single step at random states may not
show; 32 tokens, each of which depends on all earlier ones, show them.

In half precision two tokens may be equally likely but for rounding, and from there on two correct programs give different
texts. `shortfall` states whether PyTorch, given the whole text, would have chosen each token, and if not, by how much it
missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from edgeopt.batches import Array, Batch
from edgeopt.export.program import tensors

_EMPTY: Mapping[str, Array] = {}
_CACHE_TYPES = {"tensor(float16)": np.float16, "tensor(float)": np.float32}


def decode(session: ort.InferenceSession, prompt: Array, *, steps: int, given: Batch = _EMPTY) -> Array:
    """Return the `steps` most likely tokens that follow `prompt`.

    Args:
        session: a decoder exported with its cache.
        prompt: token ids [batch, sequence]; the whole prompt goes through the graph at once, with an empty cache.
        steps: number of tokens to decode.
        given: constant inputs, such as ``cross.N.key`` and the mask of the source.

    Returns:
        Token ids [batch, steps].
    """
    inputs = {value.name: value for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    batch, made, fresh, past = prompt.shape[0], [], prompt, 0
    cache: dict[str, Array] = {
        name: np.zeros((batch, value.shape[1], 0, value.shape[3]), _CACHE_TYPES[value.type])
        for name, value in inputs.items()
        if name.startswith("past_")
    }
    for _ in range(steps):
        total = past + fresh.shape[1]
        offered = {
            "input_ids": fresh,
            "decoder_input_ids": fresh,
            "attention_mask": np.ones((batch, total), np.int64),
            "position_ids": np.broadcast_to(np.arange(past, total, dtype=np.int64), fresh.shape),
            **given,
            **cache,
        }
        produced = dict(zip(names, session.run(names, {name: offered[name] for name in inputs}), strict=True))
        fresh = produced["logits"][:, -1].argmax(-1)[:, None]
        made.append(fresh)
        past = total
        cache = {name: produced[name.replace("past_key_values", "present")] for name in cache}
    return np.concatenate(made, axis=1)


def decode_without_cache(model: Any, prompt: Array, *, steps: int, source: Batch = _EMPTY) -> Array:
    """Return the same tokens from PyTorch, each computed from the whole text before it.

    Args:
        model: a transformers model that generates text.
        prompt: as in `decode`.
        steps: as in `decode`.
        source: inputs of the encoder, for encoder-decoder models.
    """
    text = torch.from_numpy(prompt)
    for _ in range(steps):
        text = torch.cat([text, _logits(model, text, source)[:, -1:].argmax(-1)], dim=1)
    return text[:, prompt.shape[1] :].numpy()


def shortfall(model: Any, prompt: Array, made: Array, *, source: Batch = _EMPTY) -> float:
    """Return the largest gap between the best logits and those of the tokens `made`, as a share of the largest magnitude.

    Args:
        model: a transformers model that generates text; it reads prompt and tokens at once.
        prompt: as in `decode`.
        made: the tokens after it, [batch, steps].
        source: inputs of the encoder, for encoder-decoder models.

    Returns:
        0 where PyTorch would have chosen every token.
    """
    text = torch.from_numpy(np.concatenate([prompt, made], axis=1))
    logits = _logits(model, text, source)[:, prompt.shape[1] - 1 : -1].double()
    chosen = logits.gather(-1, text[:, prompt.shape[1] :, None])[..., 0]
    return float((logits.amax(-1) - chosen).max() / logits.abs().max())


def _logits(model: Any, text: torch.Tensor, source: Batch) -> torch.Tensor:
    """Return PyTorch's logits for every token of `text`, [batch, sequence, vocabulary]."""
    name = "decoder_input_ids" if source else "input_ids"
    encoded = dict(zip(source, tensors(source, list(source)), strict=True))
    with torch.no_grad():
        logits: torch.Tensor = model(**{name: text}, **encoded, use_cache=False).logits
    return logits
