"""The task of decoders: one graph for the prompt and for every token after it, with the cache as inputs and outputs.

    input_ids [batch, sequence]                           logits [batch, sequence, vocabulary]
    attention_mask [batch, past_sequence + sequence]      present.N.key    [batch, heads, past_sequence + sequence, size]
    position_ids [batch, sequence]                        present.N.value  like it
    past_key_values.N.key, .value [batch, heads, past_sequence, size]

For the prompt past_sequence is 0. The names are those of the transformers ecosystem, so that its runtimes can use the file.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeopt.export.family import Config, Input, Module, Task


def cached_inputs(config: Config) -> Mapping[str, Input]:
    """Return tokens, mask, positions and the cache of every layer that has one.

    A pruned decoder's layers may differ: its configuration then has `cache_heads` (see `edgeopt.models.reshape`).
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inputs = {
        "input_ids": Input(("batch", "sequence"), "tokens"),
        "attention_mask": Input(("batch", "past_sequence + sequence"), "mask"),
        "position_ids": Input(("batch", "sequence"), "positions"),
    }
    for layer, count in enumerate(getattr(config, "cache_heads", None) or [heads] * config.num_hidden_layers):
        for part in ("key", "value"):
            inputs[f"past_key_values.{layer}.{part}"] = Input(("batch", int(count), "past_sequence", int(size)))
    return inputs


def cached(model: Module) -> Module:
    """Wrap a decoder so that its cache is passed as plain tensors."""
    import torch
    from transformers import DynamicCache

    class CachedDecoder(torch.nn.Module):
        """A decoder that takes ``past_key_values.N.key`` and ``.value`` and returns ``present.N.key`` and ``.value``."""

        def __init__(self) -> None:
            super().__init__()
            self.decoder = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor, **past: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            """Return `logits` and the cache after `input_ids`."""
            layers = len(past) // 2
            states = [(past[f"past_key_values.{n}.key"], past[f"past_key_values.{n}.value"]) for n in range(layers)]
            length = states[0][0].shape[2] + input_ids.shape[1]
            torch._check(attention_mask.shape[1] == length)  # type: ignore[no-untyped-call]
            produced = self.decoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=DynamicCache(states),
                use_cache=True,
            )
            outputs = {"logits": produced.logits}
            for n, layer in enumerate(produced.past_key_values.layers):
                outputs[f"present.{n}.key"], outputs[f"present.{n}.value"] = layer.keys, layer.values
            return outputs

    return CachedDecoder()


GENERATION = Task(("ForCausalLM", "LMHeadModel"), "AutoModelForCausalLM", cached_inputs, (), wrap=cached)


def decoder() -> dict[str, Task]:
    """Return the tasks of a decoder."""
    return {"text-generation": GENERATION}
