"""The README of a language model's bundle."""

from __future__ import annotations

from edgeopt.bundle.llm_readme import encoder_decoder_readme, llm_readme


def test_it_states_what_was_measured() -> None:
    facts = {
        "versions": {"edgeopt": "9.9"},
        "target": "x86-vnni",
        "model": {"minimum_onnxruntime": "1.27", "external_data": ["model.onnx.data"]},
        "golden": {"samples": 4},
        "generation": {
            "processor": "A *fast* one",
            "prompt_tokens": 50,
            "prefill_tokens_per_s": 200.0,
            "decode_tokens_per_s": 33.3,
            "peak_rss_bytes": 250e6,
            "cache_bytes_per_token": 46080,
            "context": 8192,
        },
    }
    text = llm_readme("My <model>", facts)
    assert "# My &lt;model&gt;\n" in text
    assert "onnxruntime 1.27 or later" in text
    assert r"A \*fast\* one" in text
    assert "| 250 ms |" in text
    assert "| 33.3 tokens/s |" in text
    assert "| 250 MB |" in text
    assert "46.1 kB per token, up to 8192 tokens" in text
    assert "`model.onnx` and its data the model" in text


def test_an_encoder_decoder_that_hears_is_shown_with_its_example() -> None:
    facts = {
        "versions": {"edgeopt": "9.9"},
        "target": "x86-vnni",
        "task": "automatic-speech-recognition",
        "model": {"minimum_onnxruntime": "", "external_data": []},
        "golden": {"samples": 2},
        "generation": {"processor": "One", "decode_tokens_per_s": 33.3, "peak_rss_bytes": None},
    }
    text = encoder_decoder_readme("Ears", facts)
    assert "A model that writes down speech, prepared by edgeopt 9.9" in text
    assert "python generate.py example.wav --json" in text
    assert "| peak memory | not told by this system |" in text
