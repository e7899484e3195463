"""BART (https://arxiv.org/abs/1910.13461)."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, text_source
from edgeopt.export.tiny import ENCODER_DECODER

FAMILY = Family(
    name="bart",
    model_types=("bart",),
    tasks=encoder_decoder("text2text-generation", "AutoModelForSeq2SeqLM", text_source, masked=True),
    tiny=ENCODER_DECODER,
)
