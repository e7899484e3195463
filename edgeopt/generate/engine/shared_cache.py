"""One buffer for past and present: the graph writes a token's keys and values where they stay, and copies nothing.

Each layer has a buffer [rows, heads, capacity, size] that is bound as past and as present. Row b holds tokens 0 … length_b − 1;
the graph is told lengths through the mask, of which it reads the sum of each row and the width.

    step, 3 rows of 5, 2 and 4 tokens after it     mask  1 1 1 1 1
                                                         1 1 0 0 0
                                                         1 1 1 1 0

Rewinding is forgetting: the next token overwrites. For a single row the graph gets a view of that row of the buffer. The
bindings of a step are made once for each number of rows; a step then changes a few numbers and runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from .arrays import Array
from .cache import check_memory
from .description import Description
from .errors import ContextError
from .session import running

_GRAIN = 64
_LINE = 64
"""Bytes."""
_TYPES = {"float32": np.float32, "float16": np.float16}


class SharedCache:
    """See the module."""

    def __init__(self, session: ort.InferenceSession, described: Description, *, rows: int = 1, capacity: int = 256) -> None:
        self._session = session
        self._described = described
        self._names = described.names
        self._rows = rows
        self.lengths = [0] * rows
        self._capacity = 0
        self._buffers: list[tuple[str, str, Array]] = []
        self._views: dict[tuple[int, int], _View] = {}
        self._one_logit = False
        self.reserve(capacity)

    @property
    def capacity(self) -> int:
        """The number of tokens that each row has room for."""
        return self._capacity

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in every row; what rows hold is kept."""
        if length <= self._capacity:
            return
        described = self._described
        if length > described.context:
            raise ContextError(f"{length} tokens: the model's context is {described.context}")
        capacity = min(max(-(-length // _GRAIN) * _GRAIN, min(2 * self._capacity, length + 1024)), described.context)
        check_memory(described, rows=self._rows, length=capacity)
        shape = (self._rows, described.kv_heads, capacity, described.head_size)
        names = self._names
        pairs = [
            (past % layer, present % layer)
            for layer in range(described.layers)
            for past, present in ((names.past_key, names.present_key), (names.past_value, names.present_value))
        ]
        used = max(self.lengths)
        old = self._buffers
        self._views.clear()
        self._buffers = []
        store = aligned_zeros((len(pairs), *shape), _TYPES[described.cache_type])
        for index, (past, present) in enumerate(pairs):
            buffer = store[index]
            if used:
                buffer[:, :, :used] = old[index][2][:, :, :used]
            self._buffers.append((past, present, buffer))
        self._capacity = capacity

    def extend(self, row: int, tokens: Sequence[int], want: int = 1) -> Array:
        """Run `tokens` after what `row` holds and return the logits of the last `want`, [want, vocabulary].

        They are valid until the next call.
        """
        if self._one_logit and want > 1:
            return self._one_by_one(row, tokens, want)
        start = self.lengths[row]
        self.reserve(start + len(tokens))
        view = self._view(row, 1)
        if len(tokens) == 1:
            logits = view.step(np.array([tokens], np.int64), [start])
        else:
            logits = view.extend(np.array([tokens], np.int64), start, want)
        self.lengths[row] = start + len(tokens)
        if logits.shape[1] < want:  # a graph that gives the last token's logits only
            self._one_logit = True
            self.lengths[row] = start
            return self._one_by_one(row, tokens, want)
        return np.asarray(logits[0, -want:], np.float32)

    def _one_by_one(self, row: int, tokens: Sequence[int], want: int) -> Array:
        first = len(tokens) - want + 1
        rest = [tokens[index : index + 1] for index in range(first, len(tokens))]
        return np.concatenate([self.extend(row, part).copy() for part in [tokens[:first], *rest]])

    def step(self, tokens: Sequence[int]) -> Array:
        """Run one token in each of the first rows and return the logits, [rows, vocabulary]; valid until the next call."""
        count = len(tokens)
        lengths = self.lengths[:count]
        self.reserve(max(lengths) + 1)
        logits = self._view(0, count).step(np.array(tokens, np.int64)[:, None], lengths)
        for row in range(count):
            self.lengths[row] += 1
        return np.asarray(logits[:, -1], np.float32)

    def rewind(self, row: int, length: int) -> None:
        """Forget all but the first `length` tokens of `row`."""
        self.lengths[row] = min(length, self.lengths[row])

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        if one == other:
            return
        used = max(self.lengths[one], self.lengths[other])
        for _, _, buffer in self._buffers:
            held = buffer[one, :, :used].copy()
            buffer[one, :, :used] = buffer[other, :, :used]
            buffer[other, :, :used] = held
        self.lengths[one], self.lengths[other] = self.lengths[other], self.lengths[one]

    def copy(self, source: int, target: int, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source`."""
        for _, _, buffer in self._buffers:
            buffer[target, :, :length] = buffer[source, :, :length]
        self.lengths[target] = length

    def _view(self, start: int, count: int) -> _View:
        view = self._views.get((start, count))
        if view is None:
            parts = [(past, present, buffer[start : start + count]) for past, present, buffer in self._buffers]
            view = self._views[start, count] = _View(self._session, self._described, parts, self._capacity)
        return view


def aligned_zeros(shape: tuple[int, ...], kind: Any) -> Array:
    """Return zeros that begin at a line of the processor's cache: numpy's own arrays make every wide load cross two lines."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    room = np.zeros(size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    made: Array = room[start : start + size].view(kind).reshape(shape)
    return made


class _View:
    """Some consecutive rows of the buffers, bound to the session."""

    def __init__(
        self, session: ort.InferenceSession, described: Description, parts: list[tuple[str, str, Array]], capacity: int
    ) -> None:
        self._session, self._names, self._model = session, described.names, described.model
        self._parts = [(past, present, ort.OrtValue.ortvalue_from_numpy(part)) for past, present, part in parts]
        count = len(parts[0][2])
        self._tokens = np.zeros((count, 1), np.int64)
        self._positions = np.zeros((count, 1), np.int64)
        self._wide = described.form == "decoder-cpu"
        """Whether a mask may be wider than the texts are long; graphs of others may choose by its width."""
        self._mask = np.zeros((count, capacity), np.int64)
        self._ones = [0] * count
        self._logits: Any = None
        self._run_options = ort.RunOptions()
        self._binding = self._bind(self._tokens, self._positions)
        if self._wide and described.names.mask is not None:
            self._bind_mask(self._mask)

    def _bind(self, tokens: Array, positions: Array) -> Any:
        binding, names = self._session.io_binding(), self._names
        for past, present, part in self._parts:
            binding.bind_ortvalue_input(past, part)
            binding.bind_ortvalue_output(present, part)
        binding.bind_ortvalue_input(names.tokens, ort.OrtValue.ortvalue_from_numpy(tokens))
        if names.positions is not None:
            binding.bind_ortvalue_input(names.positions, ort.OrtValue.ortvalue_from_numpy(positions))
        binding.bind_output(names.logits, "cpu")
        return binding

    def _bind_mask(self, mask: Array) -> None:
        self._binding.bind_ortvalue_input(self._names.mask, ort.OrtValue.ortvalue_from_numpy(mask))

    def step(self, tokens: Array, lengths: Sequence[int]) -> Array:
        """Run one token in each row, [rows, 1]; return logits [rows, 1, vocabulary] in a buffer that the next step reuses."""
        self._tokens[:] = tokens
        self._positions[:, 0] = lengths
        if self._names.mask is not None:
            self._cover(lengths)
            if not self._wide:
                self._bind_mask(np.ascontiguousarray(self._mask[:, : max(lengths) + 1]))
        with running(self._model):
            self._session.run_with_iobinding(self._binding, self._run_options)
        if self._logits is None:
            made = self._binding.get_outputs()[-1].numpy()
            self._logits = aligned_zeros(made.shape, made.dtype)
            self._logits[:] = made
            self._binding.bind_ortvalue_output(self._names.logits, ort.OrtValue.ortvalue_from_numpy(self._logits))
        return np.asarray(self._logits)

    def _cover(self, lengths: Sequence[int]) -> None:
        """Let the mask cover each row's tokens and the one that comes."""
        for row, length in enumerate(lengths):
            ones = self._ones[row]
            if length + 1 > ones:
                self._mask[row, ones : length + 1] = 1
            else:
                self._mask[row, length + 1 : ones] = 0
            self._ones[row] = length + 1

    def extend(self, tokens: Array, start: int, want: int) -> Array:
        """Run many tokens in a single row, [1, tokens]; return the logits of the last `want` at least, [1, …, vocabulary]."""
        count = tokens.shape[1]
        positions = np.arange(start, start + count, dtype=np.int64)[None]  # bound arrays must live until the run is over
        binding = self._bind(tokens, positions)
        names = self._names
        if names.mask is not None:
            mask = np.ones((1, start + count), np.int64)
            binding.bind_ortvalue_input(names.mask, ort.OrtValue.ortvalue_from_numpy(mask))
        if names.asked is not None:
            asked = np.arange(count - want, count, dtype=np.int64)
            binding.bind_ortvalue_input(names.asked, ort.OrtValue.ortvalue_from_numpy(asked))
        with running(self._model):
            self._session.run_with_iobinding(binding, self._run_options)
        return np.asarray(binding.get_outputs()[-1].numpy())
