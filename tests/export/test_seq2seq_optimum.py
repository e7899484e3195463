"""The three graphs that optimum reads: the first tokens, then one after another, give the model's logits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family
from edgeopt.export.seq2seq import text_source
from edgeopt.export.seq2seq_optimum import FILES, optimum_layout

CONFIG = SimpleNamespace(decoder_layers=1, decoder_attention_heads=4, d_model=32, max_source_positions=20)


@pytest.mark.parametrize(
    ("name", "task"), [("t5", "text2text-generation"), ("whisper", "automatic-speech-recognition")], ids=["text", "speech"]
)
def test_the_decoder_with_past_goes_on_where_the_first_one_ended(name: str, task: str) -> None:
    family = load_family(name)
    model = tiny_model(family, f"{task}/encoder")
    encoder, first, then = (family.tasks[f"{task}/{ending}"].wrap(model) for ending in FILES)
    torch.manual_seed(0)
    mask = {"attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])} if name == "t5" else {}
    source = {"input_ids": torch.tensor([[7, 11, 13, 17, 19], [23, 29, 31, 5, 5]])} if mask else {}
    source = source or {"input_features": torch.randn(2, 16, 40)}
    given = {f"encoder_{key}": value for key, value in mask.items()}
    ids = torch.tensor([[3, 41, 43, 47], [3, 53, 59, 61]])
    with torch.no_grad():
        whole = model(**source, **mask, decoder_input_ids=ids).logits
        hidden = encoder(**source, **mask)["last_hidden_state"]
        outputs = first(input_ids=ids[:, :2], encoder_hidden_states=hidden, **given)
        found = [outputs.pop("logits")]
        parts = [f"{layer}.{kind}.{part}" for layer in range(2) for kind in ("decoder", "encoder") for part in ("key", "value")]
        assert list(outputs) == [f"present.{part}" for part in sorted(parts)]
        past = {key.replace("present", "past_key_values"): value for key, value in outputs.items()}
        for place in (2, 3):
            outputs = then(input_ids=ids[:, place : place + 1], **past, **given)
            found.append(outputs.pop("logits"))
            assert not [key for key in outputs if ".encoder." in key], "the encoder's keys do not change"
            past |= {key.replace("present", "past_key_values"): value for key, value in outputs.items()}
    torch.testing.assert_close(torch.cat(found, dim=1), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("masked", "length"), [(True, "source"), (False, 20)])
def test_the_first_decoder_takes_the_encoders_output_and_the_second_its_keys(masked: bool, length: int | str) -> None:
    tasks = optimum_layout("x", ("Model",), "Auto", text_source, masked=masked)
    mask = {"encoder_attention_mask": ("batch", "source")} if masked else {}
    first, then = (
        {name: value.shape for name, value in tasks[f"x/{ending}"].inputs(CONFIG).items()}
        for ending in ("optimum-decoder", "optimum-decoder-with-past")
    )
    assert first == {"input_ids": ("batch", "sequence"), **mask, "encoder_hidden_states": ("batch", length, 32)}
    own, cross = ("batch", 4, "past_sequence", 8), ("batch", 4, length, 8)
    assert then == {
        "input_ids": ("batch", "sequence"),
        **mask,
        "past_key_values.0.decoder.key": own,
        "past_key_values.0.decoder.value": own,
        "past_key_values.0.encoder.key": cross,
        "past_key_values.0.encoder.value": cross,
    }
    assert tasks["x/optimum-encoder"].outputs == ("last_hidden_state",)
    assert set(tasks) == {f"x/{ending}" for ending in FILES}
