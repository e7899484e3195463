"""T5 (https://arxiv.org/abs/1910.10683): relative position biases shared by all layers."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, text_source
from edgeopt.export.tiny import T5

FAMILY = Family(
    name="t5",
    model_types=("t5",),
    tasks=encoder_decoder("text2text-generation", "AutoModelForSeq2SeqLM", text_source, masked=True),
    tiny=T5,
)
