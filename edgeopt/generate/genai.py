"""onnxruntime-genai as the engine: the same folder, tokens and options, another decode loop.

The package reads ``genai_config.json``, which is written beside every language model. It is a peer to compare with and an
engine for devices whose applications use it already; it is imported only when it is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from edgeopt.errors import ModelError, RecipeError
from edgeopt.extras import need
from edgeopt.generate.engine.description import GENAI_FILE
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.stream import Answer, Stream

_KNOWN = {"temperature", "top_k", "top_p", "repetition_penalty", "seed", "max_tokens", "stop", "ignore_eos"}


def generate_with_genai(engine: Engine, prompt: Sequence[int], options: Sampling) -> Answer:
    """Return onnxruntime-genai's answer to the tokens `prompt`; `engine` has the tokenizer and the folder.

    Raises:
        MachineError: the package is not installed.
        ModelError: it does not load the folder.
        RecipeError: it has no such option.
    """
    need("onnxruntime_genai", purpose="--engine genai")
    import onnxruntime_genai as genai

    changed = [name for name in vars(options) if getattr(options, name) != getattr(Sampling(), name)]
    unknown = [name for name in changed if name not in _KNOWN]
    if unknown:
        raise RecipeError(f"onnxruntime-genai has no option '{unknown[0]}'; leave it out, or use --engine edgeopt")
    folder = engine.described.model.parent
    if not (folder / GENAI_FILE).is_file():
        raise ModelError(f"{folder}: no {GENAI_FILE}; export the model again with edgeopt export")
    stream = Stream(prompt=list(prompt), options=options, tokens=engine.tokens, eos=engine.described.eos)
    stream.limit(engine.described.context - len(prompt))
    search: dict[str, float] = {"max_length": len(prompt) + stream.left, "do_sample": options.temperature > 0, "batch_size": 1}
    if options.temperature > 0:
        search |= {"temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k or 50}
    if options.repetition_penalty != 1.0:
        search["repetition_penalty"] = options.repetition_penalty
    if options.seed is not None:
        search["random_seed"] = options.seed
    try:
        model = genai.Model(str(folder))
        parameters = genai.GeneratorParams(model)
        parameters.set_search_options(**search)
        generator = genai.Generator(model, parameters)
        stream.started = time.perf_counter()
        generator.append_tokens(list(prompt))
        while stream.reason is None and not generator.is_done():
            generator.generate_next_token()
            stream.receive(int(generator.get_next_tokens()[0]))
    except RuntimeError as error:
        raise ModelError(f"{folder}: onnxruntime-genai {genai.__version__} does not run it: {str(error)[:300]}") from error
    stream.end("length" if stream.left <= 0 else "stop")
    return stream.answer()
