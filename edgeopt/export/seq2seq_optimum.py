"""Encoder-decoder models as three files for optimum's ORTModelForSeq2SeqLM and ORTModelForSpeechSeq2Seq.

    encoder_model.onnx            the source → last_hidden_state
    decoder_model.onnx            first tokens, encoder_hidden_states → logits, present.N.decoder.*, present.N.encoder.*
    decoder_with_past_model.onnx  a token, past_key_values.N.decoder.*, past_key_values.N.encoder.* → logits, present.N.*

edgeopt's own two halves (`seq2seq`) do the same work with one decoder's weights instead of two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgeopt.export.family import Config, Input, Module, Task
from edgeopt.export.seq2seq_dimensions import Inputs, dimensions

FILES = {
    "optimum-encoder": "encoder_model.onnx",
    "optimum-decoder": "decoder_model.onnx",
    "optimum-decoder-with-past": "decoder_with_past_model.onnx",
}
"""The last part of each task, and optimum's name for its file."""


def optimum_layout(task: str, heads: tuple[str, ...], auto: str, source: Inputs, *, masked: bool) -> dict[str, Task]:
    """Return the three tasks whose graphs optimum's classes read; arguments as for `seq2seq.encoder_decoder`."""
    first, then = (_inputs(masked=masked, past=past) for past in (False, True))
    return {
        f"{task}/optimum-encoder": Task(heads, auto, source, ("last_hidden_state",), wrap=_encode),
        f"{task}/optimum-decoder": Task(heads, auto, first, (), wrap=_decode),
        f"{task}/optimum-decoder-with-past": Task(heads, auto, then, (), wrap=_decode),
    }


def _inputs(*, masked: bool, past: bool) -> Callable[[Config], Mapping[str, Input]]:
    def inputs(config: Config) -> Mapping[str, Input]:
        layers, heads, size = dimensions(config)
        source: int | str = "source" if masked else int(config.max_source_positions)
        found = {"input_ids": Input(("batch", "sequence"), "tokens")}
        if masked:
            found["encoder_attention_mask"] = Input(("batch", "source"), "mask")
        if not past:
            return found | {"encoder_hidden_states": Input(("batch", source, int(config.d_model)))}
        for layer in range(layers):
            for kind, length in (("decoder", "past_sequence"), ("encoder", source)):
                for part in ("key", "value"):
                    found[f"past_key_values.{layer}.{kind}.{part}"] = Input(("batch", heads, length, size))
        return found

    return inputs


def _encode(model: Module) -> Module:
    import torch

    class Encoder(torch.nn.Module):
        """The encoder alone."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **source: torch.Tensor) -> dict[str, torch.Tensor]:
            """Return `last_hidden_state`, [batch, source, features]."""
            return {"last_hidden_state": self.model.get_encoder()(**source).last_hidden_state}

    return Encoder()


def _decode(model: Module) -> Module:
    import torch
    from transformers import DynamicCache, EncoderDecoderCache

    class Decoder(torch.nn.Module):
        """The decoder with a filled cache, or with the encoder's output and an empty one."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            input_ids: torch.Tensor,
            encoder_attention_mask: torch.Tensor | None = None,
            encoder_hidden_states: torch.Tensor | None = None,
            **past: torch.Tensor,
        ) -> dict[str, torch.Tensor]:
            """Return `logits` and the cache after `input_ids`."""
            own, cross = _cache(past, "decoder"), _cache(past, "encoder")
            cache = EncoderDecoderCache(own, cross)
            if encoder_hidden_states is None:
                cache.is_updated = dict.fromkeys(range(len(past) // 4), True)
                keys = past["past_key_values.0.encoder.key"]  # of the encoder's output only the shape is read
                encoder_hidden_states = torch.zeros(keys.shape[0], keys.shape[2], self.model.config.d_model, dtype=keys.dtype)
            masked: dict[str, Any] = {} if encoder_attention_mask is None else {"attention_mask": encoder_attention_mask}
            produced = self.model(
                decoder_input_ids=input_ids,
                encoder_outputs=(encoder_hidden_states,),
                past_key_values=cache,
                use_cache=True,
                **masked,
            )
            outputs = {"logits": produced.logits}
            found = produced.past_key_values
            for n, layer in enumerate(found.self_attention_cache.layers):
                outputs[f"present.{n}.decoder.key"], outputs[f"present.{n}.decoder.value"] = layer.keys, layer.values
                if not past:
                    other = found.cross_attention_cache.layers[n]
                    outputs[f"present.{n}.encoder.key"], outputs[f"present.{n}.encoder.value"] = other.keys, other.values
            return outputs

    def _cache(past: Mapping[str, torch.Tensor], kind: str) -> Any:
        names = [f"past_key_values.{n}.{kind}" for n in range(len(past) // 4)]
        return DynamicCache([(past[f"{name}.key"], past[f"{name}.value"]) for name in names]) if past else DynamicCache()

    return Decoder()
