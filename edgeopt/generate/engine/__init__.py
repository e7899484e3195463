"""The engine that generates text: onnxruntime, numpy, tokenizers and jinja2, nothing else.

This folder travels in bundles as it is (``engine/`` beside ``chat.py``), so it imports nothing from the rest of edgeopt.

    text  ⇄  tokens.py, template.py           messages and texts to tokens, tokens to whole characters
    loop.py                                   several texts as one batch; prompts join in parts
      ├── cache.py                            rows of keys and values: shared_cache.py (one buffer), growing_cache.py
      ├── stream.py                           one answer: sampling.py, stopping.py, constraint.py, draft.py
      └── engine.py                           all of it behind one class
"""
