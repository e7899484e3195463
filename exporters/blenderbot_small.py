"""Blenderbot small (https://arxiv.org/abs/2004.13637)."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, text_source

FAMILY = Family(
    name="blenderbot_small",
    model_types=("blenderbot-small",),
    tasks=encoder_decoder("text2text-generation", "AutoModelForSeq2SeqLM", text_source, masked=True),
    tiny={
        "vocab_size": 100,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 64,
    },
)
