"""Encoder-decoders: translation, summaries, speech to text, through the same loop as decoders.

edgeopt exports two graphs, ``encoder/model.onnx`` and ``decoder/model.onnx``. The encoder reads the source once and returns
the keys and values that every step of the decoder attends to; they are constants of the decoder's cache. All else is a
decoder whose prompt is one start token, or a few that say language and task (Whisper).
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .audio import Listening, log_mel, read_listening, read_wav
from .cache import SPARE, available_bytes
from .description import Description
from .errors import CacheError, FolderError, PromptError
from .growing_cache import GrowingCache
from .loop import Loop
from .sampling import Sampling
from .session import check_inputs, open_session, running
from .stream import Answer, Stream
from .tokens import Tokens

_GREEDY = Sampling()
_UNLIMITED = 2**31 - 1
_HEADS = ("num_heads", "encoder_attention_heads", "num_attention_heads")
_SCORE_BYTES = 16
"""Of each pair of tokens in a head: scores with their bias, their softmax, and what is copied on the way."""
_GENERATION_ONLY = {"forced_bos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"}


class Suppressed:
    """Tokens that never follow, and some that do not come first."""

    def __init__(self, vocabulary: int, *, never: Sequence[int] = (), first: Sequence[int] = ()) -> None:
        self._allowed = np.ones(vocabulary, bool)
        self._allowed[[token for token in never if 0 <= token < vocabulary]] = False
        self._first: Array | None = self._allowed.copy()
        self._first[[token for token in first if 0 <= token < vocabulary]] = False

    def allowed(self) -> Array:
        """Return for each token whether it may follow, [vocabulary] bool."""
        return self._allowed if self._first is None else self._first

    def accept(self, token: int) -> bool:  # noqa: ARG002  (as constraints are told)
        """Go on after the first token; nothing is ever complete."""
        self._first = None
        return False


class EncoderDecoder:
    """An encoder-decoder with its tokenizer; `answered` is the last answer of `stream`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.folder = folder
        self.encoder = open_session(folder / "encoder" / "model.onnx", threads=threads)
        self.decoder = open_session(folder / "decoder" / "model.onnx", threads=threads)
        beside = folder / "decoder"
        self._config = _configuration(beside)
        self.tokens = Tokens(beside / "tokenizer.json")
        self._inputs = {value.name: list(value.shape) for value in self.encoder.get_inputs()}
        self._outputs = [value.name for value in self.encoder.get_outputs()]
        try:
            described = _describe(self.decoder, beside, self._config)
        except (TypeError, ValueError) as error:
            raise FolderError(f"{beside}: its configuration does not describe a decoder: {error}") from error
        self.described = check_inputs(self.decoder, described, given=(*self._outputs, "encoder_attention_mask"))
        if isinstance(self.described.vocabulary, int):
            self.tokens.check(self.described.vocabulary)
        self.answered: Answer | None = None
        self.listening: Listening | None = read_listening(beside) if self.hears else None
        if self.listening is not None:
            self._check_listening(self.listening)

    @property
    def hears(self) -> bool:
        """Whether the source is speech."""
        return "input_features" in self._inputs

    @property
    def longest(self) -> int | None:
        """How many tokens a text may have; None: any number."""
        longest = self._config.get("max_position_embeddings")
        return longest if isinstance(longest, int) else None

    def _check_listening(self, listening: Listening) -> None:
        """Refuse spectrograms of another size than the encoder reads."""
        made = [listening.mels, listening.samples // listening.hop]
        read = self._inputs["input_features"][1:]
        if any(isinstance(size, int) and size != own for size, own in zip(read, made, strict=True)):
            raise FolderError(
                f"{self.folder}: the encoder reads spectrograms of {read[0]} × {read[1]}, and decoder/preprocessor_config.json "
                f"makes {made[0]} × {made[1]}: copy the preprocessor_config.json of this model there"
            )

    def stream(
        self,
        source: str | Path | bytes,
        options: Sampling = _GREEDY,
        *,
        language: str | None = None,
        deadline: float | None = None,
    ) -> Generator[str]:
        """Yield the answer to a text, or what is said in a .wav file, in pieces; `answered` is set at the end.

        Args:
            source: the text, or the path or the content of the file.
            options: how tokens are chosen; `max_tokens` are those of each 30 seconds of speech.
            language: of speech, such as "en"; None: the model tells.
            deadline: by `time.perf_counter`, when the answer ends.
        """
        self.answered = None
        answers: list[Answer] = []
        for feeds in self.read(source):
            cache = self.encode(feeds)
            yield from self._decode(cache, options, answers, prompt=self.prompt(cache, language), deadline=deadline)
            if answers[-1].reason == "time":
                break
        self.answered = _joined(answers)

    def generate(self, source: str | Path | bytes, options: Sampling = _GREEDY, *, language: str | None = None) -> Answer:
        """Return the answer to one source."""
        for _ in self.stream(source, options, language=language):
            pass
        if self.answered is None:
            raise PromptError("the source is empty")
        return self.answered

    def encode(self, feeds: Mapping[str, Array]) -> GrowingCache:
        """Run the encoder on one of its inputs and return a cache of the decoder that attends to what it made."""
        with running(self.folder / "encoder" / "model.onnx"):
            constants = dict(zip(self._outputs, self.encoder.run(self._outputs, feeds), strict=True))
        if "attention_mask" in feeds:
            constants["encoder_attention_mask"] = feeds["attention_mask"]
        known = {value.name for value in self.decoder.get_inputs()}
        given = {name: value for name, value in constants.items() if name in known}
        return GrowingCache(self.decoder, self.described, constants=given)

    def _decode(
        self, cache: GrowingCache, options: Sampling, answers: list[Answer], *, prompt: list[int], deadline: float | None
    ) -> Iterator[str]:
        stream = Stream(
            prompt=prompt,
            options=options,
            tokens=self.tokens,
            eos=self.described.eos,
            deadline=deadline,
            constraint=Suppressed(
                self.described.vocabulary or self.tokens.size,
                never=[*(self._config.get("suppress_tokens") or []), *_single(self._config.get("bad_words_ids"))],
                first=self._config.get("begin_suppress_tokens") or [],
            ),
        )
        loop = Loop(cache, context=self.described.context)
        loop.add(stream)
        while stream.reason is None:
            loop.step()
            piece = stream.read()
            if piece:
                yield piece
        answers.append(stream.answer())

    def read(self, source: str | Path | bytes) -> Iterator[dict[str, Array]]:
        """Yield the encoder's inputs: one for a text, one for every 30 seconds of speech."""
        if self.listening is None:
            ids = np.array([self.tokens.encode(str(source))], np.int64)
            if not ids.size:
                raise PromptError("the text is empty: write at least one character")
            if self.longest is not None and ids.shape[1] > self.longest:
                raise PromptError(f"the text has {ids.shape[1]} tokens, the model reads at most {self.longest}")
            self._check_memory(ids.shape[1])
            given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            yield {name: value for name, value in given.items() if name in self._inputs}
            return
        samples = read_wav(source if isinstance(source, bytes) else Path(source), self.listening.rate_hz)
        if not len(samples):
            raise PromptError(f"{'the recording' if isinstance(source, bytes) else source}: holds no sound")
        for start in range(0, len(samples), self.listening.samples):
            yield {"input_features": log_mel(samples[start : start + self.listening.samples], self.listening)}

    def _check_memory(self, count: int) -> None:
        """Refuse a text whose attention does not fit: in every head every token attends to every other one.

        Raises:
            CacheError: saying how many tokens fit.
        """
        free = available_bytes()
        heads = next((self._config[name] for name in _HEADS if isinstance(self._config.get(name), int)), 1)
        fit = count if free is None else math.isqrt(int(SPARE * free / (heads * _SCORE_BYTES)))
        if count > fit:
            raise CacheError(
                f"no memory to read a text of {count} tokens, whose attention grows with its square; {fit} tokens fit"
            )

    def prompt(self, cache: GrowingCache, language: str | None = None) -> list[int]:
        """Return the tokens that the decoder begins with."""
        config = self._config
        start = config.get("decoder_start_token_id")
        if not isinstance(start, int):
            raise FolderError(f"{self.folder}: its configuration has no decoder_start_token_id")
        prompt = [start]
        if isinstance(config.get("forced_bos_token_id"), int):
            prompt.append(config["forced_bos_token_id"])
        languages = config.get("lang_to_id")
        if isinstance(languages, Mapping) and languages:
            prompt.append(self._language(cache, languages, language))
            task = (config.get("task_to_id") or {}).get("transcribe")
            prompt += [task] if isinstance(task, int) else []
        elif language is not None:
            raise PromptError("this model has one language: leave --language out")
        silent = config.get("no_timestamps_token_id")
        prompt += [silent] if isinstance(silent, int) else []
        vocabulary = self.described.vocabulary or self.tokens.size
        if not all(0 <= token < vocabulary for token in prompt):
            raise FolderError(
                f"{self.folder}: its configuration begins with the tokens {prompt}, its vocabulary is {vocabulary}"
            )
        return prompt

    def _language(self, cache: GrowingCache, known: Mapping[str, int], wanted: str | None) -> int:
        """Return the token of a language: the wanted one, or the one that the model finds most likely."""
        if wanted is not None:
            token = known.get(f"<|{wanted}|>")
            if token is None:
                raise PromptError(
                    f"language {wanted}: the model knows {', '.join(sorted(name.strip('<|>') for name in known))}"
                )
            return token
        start = self._config["decoder_start_token_id"]
        logits = cache.extend(0, [start])[0]
        cache.rewind(0, 0)
        return max(known.values(), key=lambda token: float(logits[token]))


def is_encoder_decoder(path: Path) -> bool:
    """Return whether there are the two graphs of an encoder-decoder in the folder `path`."""
    return all((path / half / "model.onnx").is_file() for half in ("encoder", "decoder"))


def _describe(session: Any, folder: Path, config: Mapping[str, Any]) -> Description:
    names = [value.name for value in session.get_inputs()]
    layers = sum(name.startswith("past_key_values.") and name.endswith(".key") for name in names)
    if not layers:
        raise FolderError(f"{folder}: model.onnx has no cache, so it is not a decoder that edgeopt exported")
    eos = config.get("eos_token_id")
    context = config.get("max_target_positions") or config.get("max_position_embeddings") or _UNLIMITED
    return Description(
        model=folder / "model.onnx",
        form="portable",
        layers=layers,
        kv_heads=0,
        head_size=0,
        context=int(context),
        vocabulary=config.get("vocab_size"),
        cache_type="float32",
        shared_cache=False,
        eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (int(eos),),
        bos=None,
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{path}: is not JSON: {error}") from error
    return {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else {}


def _configuration(folder: Path) -> dict[str, Any]:
    """Return both configurations as one; as in transformers, what only generation reads counts where generation has a file."""
    config, generation = _json(folder / "config.json"), _json(folder / "generation_config.json")
    if generation:
        config = {key: value for key, value in config.items() if key not in _GENERATION_ONLY}
    return {**config, **generation}


def _single(words: Any) -> list[int]:
    """Return the tokens that are forbidden words of their own."""
    return [word[0] for word in words or [] if isinstance(word, list) and len(word) == 1]


def _joined(answers: list[Answer]) -> Answer | None:
    """Return the answers to the parts of one source as one."""
    if not answers:
        return None
    return Answer(
        tokens=tuple(token for answer in answers for token in answer.tokens),
        text="".join(answer.text for answer in answers),
        reason=next((answer.reason for answer in answers if answer.reason != "stop"), "stop"),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        reused_tokens=0,
        prefill_s=sum(answer.prefill_s for answer in answers),
        decode_s=sum(answer.decode_s for answer in answers),
    )
