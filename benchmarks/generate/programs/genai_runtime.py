"""MODEL THREADS PROMPT STEPS SEED: one measurement of onnxruntime-genai, as JSON; runs in its own environment."""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime_genai as og

folder, threads, prompt, steps, seed = sys.argv[1], *map(int, sys.argv[2:6])
config = og.Config(folder)
config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
model = og.Model(config)
rng = np.random.default_rng(seed)
vocabulary = json.loads(Path(folder, "genai_config.json").read_text(encoding="utf-8"))["model"]["vocab_size"]


def run(length: int, count: int) -> tuple[float, float]:
    """Return the seconds to the first token, and from there to `count` more."""
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=length + count + 2, min_length=length + count + 2, do_sample=False)
    generator = og.Generator(model, params)
    tokens = rng.integers(5, vocabulary, length).astype(np.int32)
    start = time.perf_counter()
    generator.append_tokens(tokens)
    generator.generate_next_token()
    first = time.perf_counter()
    for _ in range(count):
        generator.generate_next_token()
    return first - start, time.perf_counter() - first


run(16, 3)
prefill, decode = run(prompt, steps)
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"prefill_s": prefill, "decode_s": decode, "steps": steps, "rss": rss}))
