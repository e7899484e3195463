"""A language model that answers: the folder's graph, tokenizer and chat template behind one class.

engine = Engine.open(Path("model"))
for piece in engine.stream("Once upon a time", Sampling(max_tokens=64)):
    print(piece, end="")
print(engine.answered.decode_tokens_per_s)
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .arrays import Array
from .cache import Cache
from .constraint import Grammar, Grammars
from .description import Description, describe
from .errors import FolderError, PromptError
from .growing_cache import GrowingCache
from .loop import Loop, check_prompt
from .sampling import Sampling
from .session import check_inputs, open_session
from .shared_cache import SharedCache
from .stream import Answer, Stream
from .template import ChatTemplate, read_template
from .tokens import Tokens

_GREEDY = Sampling()


class Engine:
    """A decoder with its tokenizer and chat template; `answered` is the last answer of `stream`."""

    def __init__(self, session: Any, described: Description, tokens: Tokens | None, template: ChatTemplate | None) -> None:
        self.session = session
        self.described = described
        self.template = template
        self.answered: Answer | None = None
        self._tokens = tokens
        self._loop: Loop | None = None
        self._grammars: Grammars | None = None

    @classmethod
    def open(cls, path: Path, *, threads: int = 1, template: Path | None = None) -> Engine:
        """Return the engine of the model at `path`, a folder or an ONNX file with the other files beside it.

        Args:
            path: as edgeopt export or quantize wrote it.
            threads: of onnxruntime.
            template: a file with a chat template, instead of the folder's.

        Raises:
            FolderError: it is not a language model that the engine runs.
        """
        described = describe(path)
        folder = described.model.parent
        tokens = Tokens(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else None
        session = open_session(described.model, threads=threads)
        described = check_inputs(session, described)
        if tokens is not None and described.vocabulary is not None:
            tokens.check(described.vocabulary)
        return cls(session, described, tokens, read_template(folder, template))

    @property
    def tokens(self) -> Tokens:
        """The tokenizer."""
        if self._tokens is None:
            folder = self.described.model.parent
            raise FolderError(f"{folder}: no tokenizer.json; copy the tokenizer files of the model into the folder")
        return self._tokens

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the model has logits for."""
        return self.described.vocabulary or self.tokens.size

    @property
    def virtual(self) -> list[int]:
        """The tokens without a text that stand in front of every text; [] for most models."""
        if not self.described.suppressed:
            return []
        return [token for token in self.tokens.encode("") if token in self.described.suppressed]

    def cache(self, rows: int = 1, capacity: int = 256) -> Cache:
        """Return an empty cache."""
        if self.described.shared_cache:
            return SharedCache(self.session, self.described, rows=rows, capacity=min(capacity, self.described.context))
        return GrowingCache(self.session, self.described, rows=rows)

    def loop(self, rows: int = 1, capacity: int = 256) -> Loop:
        """Return a decode loop for up to `rows` texts at once."""
        return Loop(self.cache(rows, capacity), context=self.described.context)

    def prompt(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """Return the tokens of a chat.

        Raises:
            PromptError: the model has no chat template, or it refuses the messages.
        """
        if self.template is None:
            raise PromptError(
                f"{self.described.model.parent}: no chat template; give one with --template FILE, or put chat_template.jinja "
                "beside the model"
            )
        return self.tokens.encode(self.template.render(messages, tools=tools), special=False)

    def known(self, tokens: Iterable[Any]) -> list[int]:
        """Return tokens as a list.

        Raises:
            PromptError: one is not in the model's vocabulary.
        """
        ids = [int(token) for token in tokens]
        outside = next((token for token in ids if not 0 <= token < self.vocabulary), None)
        if outside is not None:
            raise PromptError(f"token {outside} is not in the model's vocabulary of {self.vocabulary}")
        return ids

    def request(
        self,
        prompt: str | Sequence[int],
        options: Sampling = _GREEDY,
        *,
        grammar: Grammar | None = None,
        speculate: bool = False,
        deadline: float | None = None,
    ) -> Stream:
        """Return a stream for a loop.

        Raises:
            PromptError: the prompt does not fit, or the grammar is wrong.
        """
        ids = self.known(self.tokens.encode(prompt) if isinstance(prompt, str) else prompt)
        check_prompt(ids, self.described.context)
        return Stream(
            prompt=ids,
            options=options,
            tokens=self._tokens,
            eos=self.described.eos,
            suppressed=self.described.suppressed,
            constraint=self._grammar().constraint(grammar) if grammar is not None else None,
            speculate=speculate,
            deadline=deadline,
        )

    def _grammar(self) -> Grammars:
        if self._grammars is None:
            self._grammars = Grammars(self.tokens, eos=self.described.eos, vocabulary=self.vocabulary)
        return self._grammars

    def stream(
        self,
        prompt: str | Sequence[int],
        options: Sampling = _GREEDY,
        *,
        grammar: Grammar | None = None,
        speculate: bool = False,
    ) -> Generator[str, None, None]:
        """Yield the answer in pieces of whole characters; `answered` is set at the end, also where the caller stops early.

        What the cache holds is used again for a prompt that begins like the last one.
        """
        stream = self.request(prompt, options, grammar=grammar, speculate=speculate)
        for _ in self._steps(stream):
            piece = stream.read()
            if piece:
                yield piece

    def _steps(self, stream: Stream) -> Iterator[None]:
        """Run a stream, and stop after each step."""
        if self._loop is None:
            self._loop = self.loop()
        loop = self._loop
        loop.add(stream)
        try:
            while stream.reason is None:
                loop.step()
                yield
        finally:
            loop.drop(stream)
            self.answered = stream.answer()

    def generate(
        self,
        prompt: str | Sequence[int],
        options: Sampling = _GREEDY,
        *,
        grammar: Grammar | None = None,
        speculate: bool = False,
    ) -> Answer:
        """Return the answer to one prompt."""
        for _ in self._steps(self.request(prompt, options, grammar=grammar, speculate=speculate)):
            pass
        if self.answered is None:
            raise PromptError("the answer was not finished")
        return self.answered

    def generate_many(self, requests: Sequence[Stream], *, rows: int) -> list[Answer]:
        """Return the answers to several requests, up to `rows` of them decoded as one batch."""
        longest = max((len(stream.prompt) + stream.options.max_tokens for stream in requests), default=1)
        loop = self.loop(rows, longest)
        waiting = list(requests)
        while waiting or loop.running:
            while waiting and loop.free:
                loop.add(waiting.pop(0))
            loop.step()
        return [stream.answer() for stream in requests]

    def logits(self, tokens: Sequence[int]) -> Array:
        """Return the logits after each of `tokens`, [tokens, vocabulary], from an empty cache."""
        return self.cache(1, len(tokens)).extend(0, tokens, want=len(tokens))
