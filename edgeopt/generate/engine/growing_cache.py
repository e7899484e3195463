"""A cache that the graph returns one token longer each time, for graphs in today's portable form and for encoder-decoders.

Rows that are decoded together share one batch of tensors, padded on the left to the longest; the mask hides the padding:

    three rows of 5, 2 and 4 tokens and a new one     mask  1 1 1 1 1 1
                                                            0 0 0 1 1 1
                                                            0 1 1 1 1 1

The batch is put together when its rows change, and taken apart when one of them is extended alone. In between tensors go from
one step to the next as they are, without a copy on the way through Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from .arrays import Array
from .description import Description
from .errors import ContextError
from .session import running

_TYPES = {"float32": np.float32, "float16": np.float16}
_CHUNK = 128
"""The most tokens that run at once: these graphs give logits for all of them, asked or not."""


class GrowingCache:
    """See the module; `constants` are inputs that are the same in every run, such as an encoder's output."""

    def __init__(
        self,
        session: ort.InferenceSession,
        described: Description,
        *,
        rows: int = 1,
        constants: Mapping[str, Array] | None = None,
    ) -> None:
        self._session, self._described, self._names = session, described, described.names
        names, layers = self._names, range(described.layers)
        self._past = [name % layer for layer in layers for name in (names.past_key, names.past_value)]
        self._outputs = [names.logits, *(name % n for n in layers for name in (names.present_key, names.present_value))]
        self._constants = {name: _value(array) for name, array in (constants or {}).items()}
        self.lengths = [0] * rows
        self._rows: list[list[Array]] = [self._empty() for _ in range(rows)]
        self._batch: list[Any] = []
        self._batch_rows: list[int] = []
        self._padding: list[int] = []

    def _empty(self) -> list[Array]:
        shape = (self._described.kv_heads, 0, self._described.head_size)
        return [np.zeros(shape, _TYPES[self._described.cache_type]) for _ in self._past]

    def reserve(self, length: int) -> None:
        """Check that the model takes `length` tokens; there is nothing to reserve."""
        if length > self._described.context:
            raise ContextError(f"{length} tokens: the model's context is {self._described.context}")

    def extend(self, row: int, tokens: Sequence[int], want: int = 1) -> Array:
        """Run `tokens` after what `row` holds and return the logits of the last `want`, [want, vocabulary]."""
        self.reserve(self.lengths[row] + len(tokens))
        if self._batch_rows != [row]:
            self._gather([row])
        logits: list[Array] = []
        have = 0
        for start in range(0, len(tokens), _CHUNK):
            part = np.array([tokens[start : start + _CHUNK]], np.int64)
            made = self._run(part)[0]
            logits.append(made[max(0, len(made) - want) :])
            have += len(logits[-1])
            while have - len(logits[0]) >= want:
                have -= len(logits.pop(0))
            self.lengths[row] += part.shape[1]
        return np.concatenate(logits)[-want:].astype(np.float32, copy=False)

    def step(self, tokens: Sequence[int]) -> Array:
        """Run one token in each of the first rows and return the logits, [rows, vocabulary]."""
        rows = list(range(len(tokens)))
        self.reserve(max(self.lengths[: len(tokens)]) + 1)
        if self._batch_rows != rows:
            self._gather(rows)
        logits = self._run(np.array(tokens, np.int64)[:, None])[:, -1]
        for row in rows:
            self.lengths[row] += 1
        return logits.astype(np.float32, copy=False)

    def rewind(self, row: int, length: int) -> None:
        """Forget all but the first `length` tokens of `row`."""
        if length >= self.lengths[row]:
            return
        self._scatter()
        self._rows[row] = [np.ascontiguousarray(part[:, :length]) for part in self._rows[row]]
        self.lengths[row] = length

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        if one != other:
            self._scatter()
            self._rows[one], self._rows[other] = self._rows[other], self._rows[one]
            self.lengths[one], self.lengths[other] = self.lengths[other], self.lengths[one]

    def copy(self, source: int, target: int, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source`."""
        self._scatter()
        self._rows[target] = [np.ascontiguousarray(part[:, :length]) for part in self._rows[source]]
        self.lengths[target] = length

    def _gather(self, rows: list[int]) -> None:
        """Put `rows` together as the batch."""
        self._scatter()
        longest = max(self.lengths[row] for row in rows)
        self._padding = [longest - self.lengths[row] for row in rows]
        self._batch = [
            _value(np.stack([_padded(self._rows[row][index], longest) for row in rows])) for index in range(len(self._past))
        ]
        self._batch_rows = rows
        for row in rows:
            self._rows[row] = []

    def _scatter(self) -> None:
        """Take the batch apart into its rows."""
        arrays = [value.numpy() for value in self._batch]
        for place, row in enumerate(self._batch_rows):
            self._rows[row] = [np.ascontiguousarray(array[place, :, self._padding[place] :]) for array in arrays]
        self._batch, self._batch_rows, self._padding = [], [], []

    def _run(self, tokens: Array) -> Array:
        """Run `tokens` [rows, count] after the batch and return all logits [rows, count, vocabulary]."""
        names = self._names
        padding, lengths = np.array(self._padding), np.array([self.lengths[row] for row in self._batch_rows])
        count, total = tokens.shape[1], int(padding[0] + lengths[0]) + tokens.shape[1]
        feeds = {**self._constants, **dict(zip(self._past, self._batch, strict=True)), names.tokens: _value(tokens)}
        if names.mask is not None:
            feeds[names.mask] = _value((np.arange(total) >= padding[:, None]).astype(np.int64))
        if names.positions is not None:
            feeds[names.positions] = _value(lengths[:, None] + np.arange(count, dtype=np.int64))
        if names.asked is not None:
            feeds[names.asked] = _value(np.arange(count, dtype=np.int64))
        with running(self._described.model):
            made = self._session.run_with_ort_values(self._outputs, feeds)
        self._batch = made[1:]
        return np.asarray(made[0].numpy())


def _value(array: Array) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _padded(part: Array, length: int) -> Array:
    return np.pad(part, ((0, 0), (length - part.shape[1], 0), (0, 0)))
