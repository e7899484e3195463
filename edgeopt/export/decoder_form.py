"""Decoders in the form ``decoder-cpu``, each proven against PyTorch by logits, KL divergence and chosen tokens.

The proof decodes as an engine will: a prompt with the logits of all its positions, then token by token over one buffer that
past and present share, against PyTorch without a cache.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from edgeopt.batches import Array
from edgeopt.errors import ModelError
from edgeopt.export.plan import Plan
from edgeopt.export.result import Decoding
from edgeopt.graph.cached_decoder import read_text
from edgeopt.graph.genai import write_genai_config
from edgeopt.graph.generation import ASKED, Generation, Inputs, decoder_layers
from edgeopt.graph.session import SessionConfig, open_session
from edgeopt.passes.fuse_cache import has_cache
from edgeopt.passes.pipelines import decode_on_cpu

_MOST_CONTEXT = 32_768
_PROMPT, _STEPS = 16, 8


def takes_cache(plan: Plan, graph: ir.Graph) -> bool:
    """Return whether the exported graph is a decoder that generates text with a cache."""
    return plan.task == "text-generation" and decoder_layers(graph) > 0


def context_of(plan: Plan) -> tuple[int, tuple[str, ...]]:
    """Return the most positions of the exported decoder, and a remark where they are fewer than the model's."""
    config = _configuration(plan)
    named = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "seq_length")]
    most = next((int(value) for value in named if value), 2048)
    if plan.context is not None:
        return min(plan.context, most), ()
    if most <= _MOST_CONTEXT:
        return most, ()
    remark = f"context: {_MOST_CONTEXT:,} of the model's {most:,} positions; --set context=N makes rotary tables for N"
    return _MOST_CONTEXT, (remark,)


def convert(graph: ir.Model, plan: Plan) -> tuple[Generation, tuple[str, ...]]:
    """Bring the exported decoder into the plan's form, in place; return what a decode loop has to know, and remarks."""
    portable = _described(graph, plan)
    if plan.decoder == "portable":
        return portable, ()
    if plan.dtype not in {"float32", "float16"} or not has_flat_cache(graph.graph):
        return portable, ("decoder: portable, because decoder-cpu needs float32 and fused attention (opset 23 or later)",)
    growing = _length_dependent(_configuration(plan))
    if growing:
        return portable, (f"decoder: portable, because the rotary angles of '{growing}' depend on the length of the text",)
    context, remarks = context_of(plan)
    attention = decode_on_cpu(graph, context=context)
    if not attention.count:
        return portable, (f"decoder: portable, because {attention.reason}",)
    graph.metadata_props["edgeopt.decoder"] = "decoder-cpu"
    graph.metadata_props.pop("edgeopt.axes", None)
    names = {value.name for value in graph.graph.inputs}
    inputs = Inputs(positions="position_ids" if "position_ids" in names else None, asked=ASKED if ASKED in names else None)
    facts = portable.model_copy(
        update={
            "form": "decoder-cpu",
            "shared_cache": True,
            "window": attention.window,
            "context": context,
            "inputs": inputs,
        }
    )
    return facts, remarks


def has_flat_cache(graph: ir.Graph) -> bool:
    """Return whether the graph's Attention nodes take the cache themselves."""
    return any(node.op_type == "Attention" and len(node.inputs) > 5 for node in graph) and not has_cache(graph)


def _length_dependent(config: Any) -> str | None:
    """Return the kind of rotary positions whose angles change with the length of the text, None for all others."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    each = [found, *(value for value in found.values() if isinstance(value, dict))] if isinstance(found, dict) else []
    kinds = [str(item.get("rope_type", item.get("type", ""))) for item in each]
    return next((kind for kind in kinds if kind == "longrope" or "dynamic" in kind), None)


def _configuration(plan: Plan) -> Any:
    config = _decoder(plan).config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _decoder(plan: Plan) -> Any:
    """Return the transformers model that the plan's module wraps."""
    return getattr(plan.module, "decoder", plan.module)


def _described(graph: ir.Model, plan: Plan) -> Generation:
    config, layers = _configuration(plan), decoder_layers(graph.graph)
    inputs = {value.name: value for value in graph.graph.inputs}
    cache = inputs["past_key_values.0.key"]
    shape = cache.shape
    sizes = [size if isinstance(size, int) else 0 for size in shape] if shape is not None else [0] * 4
    ids = getattr(_decoder(plan), "generation_config", None)
    end = getattr(ids, "eos_token_id", None)
    end = getattr(config, "eos_token_id", None) if end is None else end
    positions = "position_ids" if "position_ids" in inputs else None
    return Generation(
        form="portable",
        layers=layers,
        heads=int(config.num_attention_heads),
        kv_heads=sizes[1],
        head_size=sizes[3],
        hidden=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        context=context_of(plan)[0],
        cache_type="float16" if cache.dtype == ir.DataType.FLOAT16 else "float32",
        eos=[int(token) for token in (end if isinstance(end, list) else [end]) if token is not None],
        bos=_token(ids, config, "bos_token_id"),
        pad=_token(ids, config, "pad_token_id"),
        suppress=list(getattr(ids, "suppress_tokens", None) or []),
        inputs=Inputs(positions=positions),
    )


def _token(ids: object, config: object, name: str) -> int | None:
    found = getattr(ids, name, None)
    found = getattr(config, name, None) if found is None else found
    return found if isinstance(found, int) else None


def write_descriptions(facts: Generation, folder: Path) -> list[Path]:
    """Write ``generation.json`` and ``genai_config.json`` into `folder`."""
    return [facts.write(folder), write_genai_config(facts, folder)]


def prove_decoding(path: Path, facts: Generation, plan: Plan) -> Decoding:
    """Decode with the file at `path` and compare with PyTorch.

    Raises:
        ModelError: logits differ by more than the plan's tolerance, or another token is chosen without a tie.
    """
    prompt = np.random.default_rng(0).integers(min(5, facts.vocabulary - 1), facts.vocabulary, (1, _PROMPT + _STEPS))
    with torch.no_grad():
        exact = _decoder(plan)(input_ids=torch.from_numpy(prompt), use_cache=False).logits[0].float().numpy()
    found = read_text(open_session(path, config=SessionConfig(threads=1)), facts, prompt[0], prompt=_PROMPT)
    error = float(np.abs(found - exact).max() / np.abs(exact).max())
    same = exact.argmax(-1) == found.argmax(-1)
    result = Decoding(kl=divergence(exact, found), tokens=len(same), same_tokens=int(same.sum()), relative_error=error)
    tied = np.take_along_axis(exact, found.argmax(-1)[:, None], -1)[:, 0] >= exact.max(-1) - 2 * np.abs(found - exact).max()
    if error > plan.tolerance or not (same | tied).all():
        raise ModelError(
            f"decoder-cpu: decoding differs from PyTorch: relative error {error:.3g} (allowed {plan.tolerance:g}), "
            f"{result.same_tokens} of {result.tokens} tokens equal; export with --set decoder=portable, and please report it"
        )
    return result


def divergence(exact: Array, found: Array) -> float:
    """Return the mean Kullback-Leibler divergence KL(exact ‖ found) in nats of two sets of logits [positions, vocabulary]."""
    p, q = log_softmax(exact), log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def log_softmax(logits: Array) -> Array:
    """Return log(softmax) along the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    made: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return made


def merged_for(plan: Plan) -> Plan:
    """Return the plan with query, key and value as one product, which the attention of decoder-cpu takes as it is."""
    return replace(plan, projections="merged") if plan.decoder == "decoder-cpu" else plan
