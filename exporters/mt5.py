"""mT5 (https://arxiv.org/abs/2010.11934): T5 with gated layers."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, text_source
from edgeopt.export.tiny import T5

FAMILY = Family(
    name="mt5",
    model_types=("mt5",),
    tasks=encoder_decoder("text2text-generation", "AutoModelForSeq2SeqLM", text_source, masked=True),
    tiny=T5,
)
