"""MODEL THREADS PROMPT STEPS SEED: one measurement of edgeopt's engine, as JSON."""

import json
import resource
import sys
from pathlib import Path

import numpy as np

from edgeopt.generate import Sampling, open_engine

model, threads, prompt, steps, seed = sys.argv[1], *map(int, sys.argv[2:6])
engine = open_engine(Path(model), threads=threads)
rng = np.random.default_rng(seed)
options = Sampling(max_tokens=steps + 1, ignore_eos=True)
engine.generate(rng.integers(5, engine.vocabulary, 16).tolist(), Sampling(max_tokens=4, ignore_eos=True))
answer = engine.generate(rng.integers(5, engine.vocabulary, prompt).tolist(), options)
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"prefill_s": answer.prefill_s, "decode_s": answer.decode_s, "steps": len(answer.tokens) - 1, "rss": rss}))
