"""mT5 (https://arxiv.org/abs/2010.11934): T5 with gated layers."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, text_source

FAMILY = Family(
    name="mt5",
    model_types=("mt5",),
    tasks=encoder_decoder("text2text-generation", "AutoModelForSeq2SeqLM", text_source, masked=True),
    tiny={
        "vocab_size": 100,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
    },
)
