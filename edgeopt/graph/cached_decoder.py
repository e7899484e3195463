"""Decoding with a session, call by call: the cache is one shared buffer where the graph allows it, else it grows.

For proofs and measurements on a text or a few prompts; `edgeopt.generate` is the engine that people talk to.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from edgeopt.batches import Array
from edgeopt.errors import ModelError
from edgeopt.graph.generation import Generation
from edgeopt.graph.outputs import reason


class CachedDecoder:
    """Texts of one length [rows, positions] in a decoder; `length` positions fit."""

    def __init__(self, session: ort.InferenceSession, facts: Generation, length: int, *, rows: int = 1) -> None:
        self._session, self._facts, self._rows = session, facts, rows
        self.past = 0
        kind = np.float16 if facts.cache_type == "float16" else np.float32
        room = length if facts.shared_cache else 0
        names = (facts.inputs.past_key, facts.inputs.past_value)
        self._cache = {
            name % layer: ort.OrtValue.ortvalue_from_numpy(np.zeros((rows, facts.kv_heads, room, facts.head_size), kind))
            for name in names
            for layer in range(facts.layers)
        }

    def read(self, tokens: Array) -> Array:
        """Read more tokens [positions] of one text; return the logits [positions, vocabulary] behind each of them."""
        logits: Array = self.read_rows(tokens[None])[0]
        return logits

    def read_rows(self, tokens: Array) -> Array:
        """Read more tokens [rows, positions]; return the logits [rows, positions, vocabulary] behind each of them.

        Raises:
            ModelError: the graph fails.
        """
        facts, count = self._facts, tokens.shape[1]
        end = self.past + count
        given = {facts.inputs.tokens: np.ascontiguousarray(tokens), facts.inputs.mask: np.ones((self._rows, end), np.int64)}
        if facts.inputs.positions is not None:
            positions = np.arange(self.past, end, dtype=np.int64)
            given[facts.inputs.positions] = np.ascontiguousarray(np.broadcast_to(positions, (self._rows, count)))
        if facts.inputs.asked is not None:
            given[facts.inputs.asked] = np.arange(count, dtype=np.int64)
        binding = self._session.io_binding()
        for name, array in given.items():  # (bind_cpu_input refuses initializers that may be overridden)
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        names = [
            (before % layer, after % layer)
            for before, after in (
                (facts.inputs.past_key, facts.outputs.present_key),
                (facts.inputs.past_value, facts.outputs.present_value),
            )
            for layer in range(facts.layers)
        ]
        for before, after in names:
            binding.bind_ortvalue_input(before, self._cache[before])
            if facts.shared_cache:
                binding.bind_ortvalue_output(after, self._cache[before])
            else:
                binding.bind_output(after)
        binding.bind_output(facts.outputs.logits)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # (its exception classes share no base but Exception)
            raise not_run(error, count) from error
        made = binding.get_outputs()
        if not facts.shared_cache:
            self._cache = {before: value for (before, _), value in zip(names, made, strict=False)}
        self.past = end
        logits: Array = made[-1].numpy().astype(np.float32)
        return logits


def not_run(error: Exception, count: int) -> ModelError:
    """Return what to raise when onnxruntime cannot run a decoder on `count` tokens."""
    return ModelError(f"the decoder's graph fails on {count} token{'s' if count > 1 else ''}: {reason(error)}")


def read_text(session: ort.InferenceSession, facts: Generation, text: Array, *, prompt: int) -> Array:
    """Return the logits [positions, vocabulary] of a text [positions]: its first `prompt` at once, then one by one."""
    decoder = CachedDecoder(session, facts, len(text) + 5)
    pieces = [text[:prompt], *(text[place : place + 1] for place in range(prompt, len(text)))]
    return np.concatenate([decoder.read(piece) for piece in pieces])


def greedy(session: ort.InferenceSession, facts: Generation, prompt: Array, *, steps: int) -> tuple[list[int], list[float]]:
    """Return the most likely tokens that follow `prompt`, and by how much each one's logit leads the second best."""
    decoder = CachedDecoder(session, facts, len(prompt) + steps)
    tokens: list[int] = []
    leads: list[float] = []
    fresh = prompt
    for _ in range(steps):
        logits = decoder.read(fresh)[-1]
        second, first = np.partition(logits, -2)[-2:]
        tokens.append(int(logits.argmax()))
        leads.append(float(first - second))
        fresh = np.array(tokens[-1:], dtype=np.int64)
    return tokens, leads
