"""MODEL THREADS: onnxruntime-genai answers prompts, a JSON object a line on stdin; runs in its own environment."""

import json
import sys
import time

import numpy as np
import onnxruntime_genai as og

folder, threads = sys.argv[1], int(sys.argv[2])
config = og.Config(folder)
config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
model = og.Model(config)

for line in sys.stdin:
    asked = json.loads(line)
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(asked["prompt"]) + asked["tokens"], do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(np.array(asked["prompt"], np.int32))
    generator.generate_next_token()
    start, made = time.perf_counter(), [int(generator.get_next_tokens()[0])]
    while not generator.is_done():
        generator.generate_next_token()
        made.append(int(generator.get_next_tokens()[0]))
    print(json.dumps({"tokens": made, "seconds": time.perf_counter() - start}), flush=True)
