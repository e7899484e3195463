"""MODEL THREADS PROMPT STEPS SEED: one measurement of OpenVINO GenAI on a folder or a GGUF file, as JSON."""

import json
import resource
import sys
import time

import numpy as np
import openvino
import openvino_genai

path, threads, prompt, steps, seed = sys.argv[1], *map(int, sys.argv[2:6])
pipeline = openvino_genai.LLMPipeline(path, "CPU", INFERENCE_NUM_THREADS=threads)
rng = np.random.default_rng(seed)


def run(length: int, count: int) -> float:
    """Return the seconds for a prompt and `count` tokens."""
    ids = rng.integers(5, 40000, (1, length)).astype(np.int64)
    start = time.perf_counter()
    inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
    pipeline.generate(inputs, max_new_tokens=count, ignore_eos=True, do_sample=False)
    return time.perf_counter() - start


run(16, 3)
prefill = run(prompt, 1)
decode = run(prompt, steps + 1) - prefill
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"prefill_s": prefill, "decode_s": decode, "steps": steps, "rss": rss}))
