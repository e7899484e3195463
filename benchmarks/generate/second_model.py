"""A second language model, of another family and with weights on no grid: Qwen2-like, to be trained here on ../shared/data.

    python -m benchmarks.generate.second_model start.folder text.txt…
    edgeopt train start.folder --data 'text.txt?max_length=256' --task text-generation -o FOLDER --set epochs=4 \
        --set learning_rate=2e-3 --set batch_size=16

Byte-level BPE of 4,096 tokens learned from the texts, rotary positions, biases on queries, keys and values, two key-value heads
for four heads, embedding and head tied: 5.5 million parameters.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

_VOCABULARY = 4096
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def learn_tokenizer(texts: list[Path]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with a chat template."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train([str(text) for text in texts], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|endoftext|>")
    made.chat_template = _TEMPLATE
    return made


def main() -> None:
    """Write the untrained model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate.second_model", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    options = parser.parse_args()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=_VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    Qwen2ForCausalLM(config).save_pretrained(options.folder)
    learn_tokenizer(options.texts).save_pretrained(options.folder)


if __name__ == "__main__":
    main()
