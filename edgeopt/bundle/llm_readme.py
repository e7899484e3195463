"""The README.md of a bundle with a language model or an encoder-decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeopt.escaping import markdown

_TEXT = """\
# {name}

A language model, prepared by edgeopt {edgeopt} for the target `{target}`. It needs onnxruntime{least}, numpy, tokenizers and
jinja2.

## Check it where it will run

    python verify.py

It compares every file with its SHA-256, the model's inputs and outputs with `bundle.json`, and the most likely tokens after
{samples} prompts with the recorded ones; tokens whose margin is within the recorded tolerance are counted and not judged.
Exit status 0: everything is correct; 1: something is wrong; 2: something could not be checked.

## Talk with it

    python chat.py                       # a conversation
    python chat.py "A question"          # one answer; --raw continues the text instead
    python chat.py "A question" --json   # tokens, text and speeds

`engine/` is what generates, in plain Python: copy it into a program of your own. With edgeopt installed, `edgeopt serve
FOLDER` puts the model behind the OpenAI API, and `edgeopt chat FOLDER` talks on a terminal. onnxruntime-genai reads the
folder as well, where it holds `genai_config.json`.

| measured on {processor}, one thread | |
|---|---|
| first token after {prompt_tokens} tokens of prompt | {first_ms:.0f} ms |
| decoding | {decode:.1f} tokens/s |
| peak memory | {memory} |
| cache | {cache:.1f} kB per token, up to {context} tokens |

## Files

`model.onnx`{external} the model · `generation.json` what the engine must know · `tokenizer.json`, `chat_template.jinja` text
and tokens · `golden.json` golden tokens and their margins · `quality.json` perplexity and KL, where they were measured ·
`verify.py`, `inference/` · `chat.py`, `engine/` · `SHA256SUMS` hash of every file
"""


_ENCODER_DECODER = """\
# {name}

{what}, prepared by edgeopt {edgeopt} for the target `{target}`. It needs onnxruntime{least}, numpy and tokenizers.

## Check it where it will run

    python verify.py

It compares every file with its SHA-256, the decoder's inputs and outputs with `bundle.json`, and the most likely tokens for
{samples} sources with the recorded ones; tokens whose margin is within the recorded tolerance are counted and not judged.
Exit status 0: everything is correct; 1: something is wrong; 2: something could not be checked.

## Run it

    python generate.py {example}
    python generate.py {example} --json   # tokens, text and speeds

`engine/` is what generates, in plain Python: copy it into a program of your own. With edgeopt installed, `edgeopt generate
FOLDER` runs it, and `edgeopt serve FOLDER` puts it behind an HTTP API.

| measured on {processor}, one thread | |
|---|---|
| decoding | {decode:.1f} tokens/s |
| peak memory | {memory} |

## Files

`encoder/`, `decoder/` the two graphs{external}, the tokenizer and the configurations · `generation.json` what the loop must
know of the decoder · `golden.json`, `golden.npz` golden tokens, their margins and sources · `verify.py`, `inference/` ·
`generate.py`, `engine/` · `SHA256SUMS` hash of every file
"""


def encoder_decoder_readme(name: str, facts: Mapping[str, Any]) -> str:
    """Return the text of README.md for an encoder-decoder; `facts` is bundle.json."""
    model, measured = facts["model"], facts["generation"]
    hears = facts["task"] == "automatic-speech-recognition"
    return _ENCODER_DECODER.format(
        name=markdown(name),
        what="A model that writes down speech" if hears else "A model that answers a text with a text",
        example="example.wav" if hears else '"A sentence"',
        edgeopt=facts["versions"]["edgeopt"],
        target=markdown(facts["target"]),
        least=f" {model['minimum_onnxruntime']} or later" if model["minimum_onnxruntime"] else "",
        samples=facts["golden"]["samples"],
        processor=markdown(str(measured["processor"])),
        decode=measured["decode_tokens_per_s"],
        memory=_memory(measured["peak_rss_bytes"]),
        external=" and their data" if model["external_data"] else "",
    )


def llm_readme(name: str, facts: Mapping[str, Any]) -> str:
    """Return the text of README.md; `facts` is bundle.json."""
    model, measured = facts["model"], facts["generation"]
    prefill = measured["prefill_tokens_per_s"]
    return _TEXT.format(
        name=markdown(name),
        edgeopt=facts["versions"]["edgeopt"],
        target=markdown(facts["target"]),
        least=f" {model['minimum_onnxruntime']} or later" if model["minimum_onnxruntime"] else "",
        samples=facts["golden"]["samples"],
        processor=markdown(str(measured["processor"])),
        prompt_tokens=measured["prompt_tokens"],
        first_ms=1e3 * measured["prompt_tokens"] / prefill if prefill else 0.0,
        decode=measured["decode_tokens_per_s"],
        memory=_memory(measured["peak_rss_bytes"]),
        cache=measured["cache_bytes_per_token"] / 1e3,
        context=measured["context"],
        external=" and its data" if model["external_data"] else "",
    )


def _memory(peak_bytes: int | None) -> str:
    return "not told by this system" if peak_bytes is None else f"{peak_bytes / 1e6:.0f} MB"
