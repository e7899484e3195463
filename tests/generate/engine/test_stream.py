"""One answer: why it ends, and its text."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from edgeopt.generate.engine.arrays import Array
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.stream import Answer, Stream


def one_hot(token: int) -> Array:
    logits = np.zeros(400, np.float32)
    logits[token] = 9.0
    return logits


def fed(stream: Stream, tokens: list[int]) -> Answer:
    for token in tokens:
        if stream.reason is None:
            stream.take(one_hot(token))
    return stream.answer()


def test_it_ends_at_the_end_of_text_token_which_has_no_text(engine: Engine) -> None:
    ids = engine.tokens.encode("one two")
    answer = fed(Stream([1], Sampling(), engine.tokens, eos=(2,)), [*ids, 2, *ids])
    assert (answer.text, answer.reason, answer.tokens) == ("one two", "stop", (*ids, 2))


def test_it_ends_before_a_stop_string(engine: Engine) -> None:
    ids = engine.tokens.encode("one, two, three")
    stream = Stream([1], Sampling(stop=(", th",)), engine.tokens, eos=(2,))
    assert fed(stream, ids).text == "one, two"
    assert stream.reason == "stop"


def test_a_stop_string_in_the_last_held_piece_counts(engine: Engine) -> None:
    ids = engine.tokens.encode("ab")
    stream = Stream([1], Sampling(stop=("b",), max_tokens=len(ids)), engine.tokens)
    assert (fed(stream, ids).text, stream.reason) == ("a", "stop")


def test_what_was_held_for_a_stop_string_is_said_at_the_end(engine: Engine) -> None:
    ids = engine.tokens.encode("one, ")
    stream = Stream([1], Sampling(stop=(", two",), max_tokens=len(ids)), engine.tokens)
    assert (fed(stream, ids).text, stream.reason) == ("one, ", "length")


def test_time_ends_it(engine: Engine) -> None:
    stream = Stream([1], Sampling(), engine.tokens, deadline=time.perf_counter() - 1)
    assert fed(stream, [5, 6]).reason == "time"
    assert len(stream.made) == 1


def test_the_text_is_read_piece_by_piece(engine: Engine) -> None:
    stream = Stream([1], Sampling(), engine.tokens)
    pieces = []
    for token in engine.tokens.encode("Grüße 🙂"):
        stream.take(one_hot(token))
        pieces.append(stream.read())
    stream.end("cancelled")
    assert "".join(pieces) + stream.read() == "Grüße 🙂"
    assert stream.read() == ""


def test_speeds_count_what_was_computed() -> None:
    answer = Answer((1, 2, 3, 4), "", "stop", prompt_tokens=110, reused_tokens=10, prefill_s=0.5, decode_s=0.1)
    assert answer.prefill_tokens_per_s == 200
    assert answer.decode_tokens_per_s == pytest.approx(30)


class Halting:
    """Tokens as single letters; the first decoding waits until it may go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def decode(self, tokens: list[int], **_: object) -> str:
        if not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(10)
        return "".join(chr(token) for token in tokens)


def test_a_reader_in_another_thread_gets_each_character_once() -> None:
    tokens: Any = Halting()
    stream = Stream([1], Sampling(), tokens, eos=(2,))
    stream.receive(ord("a"))
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(stream.read()))
    reader.start()
    assert tokens.reached.wait(10)
    ending = threading.Thread(target=lambda: [stream.receive(ord("b")), stream.receive(2)])
    ending.start()
    ending.join(0.3)  # it must wait for the reader
    tokens.go_on.set()
    for thread in (reader, ending):
        thread.join(10)
    assert "".join(said) + stream.read() == stream.answer().text == "ab"
