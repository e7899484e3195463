"""MODEL THREADS PROMPT STEPS SEED: one measurement of CTranslate2 (int8), as JSON."""

import json
import resource
import sys
import time
from pathlib import Path

import ctranslate2
import numpy as np

folder, threads, prompt, steps, seed = sys.argv[1], *map(int, sys.argv[2:6])
generator = ctranslate2.Generator(folder, device="cpu", intra_threads=threads, inter_threads=1)
words = json.loads((Path(folder) / "vocabulary.json").read_text(encoding="utf-8"))
rng = np.random.default_rng(seed)


def run(length: int, count: int) -> float:
    """Return the seconds for a prompt and `count` tokens."""
    tokens = [words[place] for place in rng.integers(5, 40000, length)]
    start = time.perf_counter()
    generator.generate_batch([tokens], max_length=count, min_length=count, include_prompt_in_result=False, beam_size=1)
    return time.perf_counter() - start


run(16, 3)
prefill = run(prompt, 1)
decode = run(prompt, steps + 1) - prefill
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"prefill_s": prefill, "decode_s": decode, "steps": steps, "rss": rss}))
