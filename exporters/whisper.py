"""Whisper (https://arxiv.org/abs/2212.04356): spectrograms of 30 seconds to text."""

from edgeopt.export.family import Family
from edgeopt.export.seq2seq import encoder_decoder, speech_source

FAMILY = Family(
    name="whisper",
    model_types=("whisper",),
    tasks=encoder_decoder("automatic-speech-recognition", "AutoModelForSpeechSeq2Seq", speech_source, masked=False),
    tiny={
        "vocab_size": 100,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "num_mel_bins": 16,
        "max_source_positions": 20,
        "max_target_positions": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 3,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    },
)
