"""Marian (https://aclanthology.org/P18-4020): translation."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, text_source
from edgeopt.export.tiny import ENCODER_DECODER

FAMILY = Family(
    name="marian",
    model_types=("marian",),
    tasks=encoder_decoder("text2text-generation", "AutoModelForSeq2SeqLM", text_source, masked=True),
    tiny={**ENCODER_DECODER, "pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 1, "forced_eos_token_id": None},
)
