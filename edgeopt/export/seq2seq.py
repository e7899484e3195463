"""Encoder-decoder models as two graphs: one for the source, one per token, without repeated work.

The decoder's cross-attention needs keys and values of the encoder's output that are the same for every token. So the encoder's
graph returns them, and the decoder's graph takes them, in addition to the growing cache of its own tokens:

    …/encoder   input_ids or input_features → cross.N.key, cross.N.value            [batch, heads, source, size]
    …/decoder   decoder_input_ids, cross.N.*, past_key_values.N.* [.., past_sequence, ..] → logits, present.N.*

The encoder's wrapper finds the keys and values by running the decoder on one token and keeping its cache; all else that the
decoder computes there reaches no output and is dropped from the graph. The decoder's wrapper passes a cache that is already
filled, and in the place of the encoder's output a tensor of which only the shape is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeopt.export.family import Config, Input, Module, Task
from edgeopt.export.seq2seq_dimensions import Inputs, dimensions
from edgeopt.export.seq2seq_optimum import optimum_layout


def text_source(config: Config) -> Mapping[str, Input]:  # noqa: ARG001
    """Return the inputs of an encoder of text."""
    return {"input_ids": Input(("batch", "source"), "tokens"), "attention_mask": Input(("batch", "source"), "mask")}


def speech_source(config: Config) -> Mapping[str, Input]:
    """Return the input of an encoder of spectrograms of fixed length."""
    return {"input_features": Input(("batch", int(config.num_mel_bins), 2 * int(config.max_source_positions)))}


def _decoder_inputs(config: Config, *, masked: bool) -> Mapping[str, Input]:
    layers, heads, size = dimensions(config)
    source: int | str = "source" if masked else int(config.max_source_positions)
    inputs = {"decoder_input_ids": Input(("batch", "sequence"), "tokens")}
    if masked:
        inputs["encoder_attention_mask"] = Input(("batch", "source"), "mask")
    for kind, length in (("cross", source), ("past_key_values", "past_sequence")):
        for layer in range(layers):
            for part in ("key", "value"):
                inputs[f"{kind}.{layer}.{part}"] = Input(("batch", heads, length, size))
    return inputs


def _encode(model: Module) -> Module:
    import torch
    from transformers import DynamicCache, EncoderDecoderCache

    class Encoder(torch.nn.Module):
        """Maps the source to the keys and values that every step of the decoder attends to."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, attention_mask: torch.Tensor | None = None, **source: torch.Tensor) -> dict[str, torch.Tensor]:
            """Return ``cross.N.key`` and ``cross.N.value``."""
            masked: dict[str, Any] = {} if attention_mask is None else {"attention_mask": attention_mask}
            hidden = self.model.get_encoder()(**source, **masked).last_hidden_state
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            self.model.get_decoder()(
                input_ids=torch.zeros(hidden.shape[0], 1, dtype=torch.int64),
                encoder_hidden_states=hidden,
                past_key_values=cache,
                use_cache=True,
            )
            states = enumerate(cache.cross_attention_cache.layers)
            return {f"cross.{n}.{part}": getattr(layer, part + "s") for n, layer in states for part in ("key", "value")}

    return Encoder()


def _decode(model: Module) -> Module:
    import torch
    from transformers import DynamicCache, EncoderDecoderCache

    class Decoder(torch.nn.Module):
        """One step of the decoder, or its first steps at once."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, decoder_input_ids: torch.Tensor, encoder_attention_mask: torch.Tensor | None = None, **cached: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            """Return `logits` and the decoder's own cache after `decoder_input_ids`."""
            layers = range(len(cached) // 4)
            own = DynamicCache([(cached[f"past_key_values.{n}.key"], cached[f"past_key_values.{n}.value"]) for n in layers])
            cross = DynamicCache([(cached[f"cross.{n}.key"], cached[f"cross.{n}.value"]) for n in layers])
            cache = EncoderDecoderCache(own, cross)
            cache.is_updated = dict.fromkeys(layers, True)
            keys = cached["cross.0.key"]
            shape_only = torch.zeros(keys.shape[0], keys.shape[2], self.model.config.d_model, dtype=keys.dtype)
            masked: dict[str, Any] = {} if encoder_attention_mask is None else {"attention_mask": encoder_attention_mask}
            produced = self.model(
                decoder_input_ids=decoder_input_ids,
                encoder_outputs=(shape_only,),
                past_key_values=cache,
                use_cache=True,
                **masked,
            )
            outputs = {"logits": produced.logits}
            for n, layer in enumerate(produced.past_key_values.self_attention_cache.layers):
                outputs[f"present.{n}.key"], outputs[f"present.{n}.value"] = layer.keys, layer.values
            return outputs

    return Decoder()


def encoder_decoder(task: str, auto: str, source: Inputs, *, masked: bool) -> dict[str, Task]:
    """Return the two halves of `task`, ``task/encoder`` and ``task/decoder``, and the three that optimum's classes read.

    Args:
        task: the hub's name of the task.
        auto: transformers' Auto class for it.
        source: the encoder's inputs.
        masked: whether the source has a mask, because its length varies.
    """
    heads = ("ForConditionalGeneration", "MTModel")
    return {
        f"{task}/encoder": Task(heads, auto, source, (), wrap=_encode),
        f"{task}/decoder": Task(heads, auto, lambda config: _decoder_inputs(config, masked=masked), (), wrap=_decode),
        **optimum_layout(task, heads, auto, source, masked=masked),
    }
