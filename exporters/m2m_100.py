"""M2M-100 (https://arxiv.org/abs/2010.11125), and NLLB, which shares its architecture."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, text_source
from edgeopt.export.tiny import ENCODER_DECODER

FAMILY = Family(
    name="m2m_100",
    model_types=("m2m_100",),
    tasks=encoder_decoder("text2text-generation", "AutoModelForSeq2SeqLM", text_source, masked=True),
    tiny=ENCODER_DECODER,
)
