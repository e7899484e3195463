"""Generate: language models that answer, on the command line, over HTTP and in a bundle.

    engine = open_engine(Path("model"))
    answer = engine.generate("Once upon a time", Sampling(max_tokens=64))
    print(answer.text, answer.decode_tokens_per_s)

`edgeopt.generate.engine` is the engine, which bundles carry; the modules beside it are the commands' part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.generate.engine.constraint import Grammar
    from edgeopt.generate.engine.engine import Engine
    from edgeopt.generate.engine.sampling import Sampling
    from edgeopt.generate.engine.stream import Answer
    from edgeopt.generate.opening import open_engine

__all__ = ["Answer", "Engine", "Grammar", "Sampling", "open_engine"]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "Answer": "engine.stream",
            "Engine": "engine.engine",
            "Grammar": "engine.constraint",
            "Sampling": "engine.sampling",
            "open_engine": "opening",
        },
    )
