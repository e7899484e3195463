"""Tasks of text encoders: their inputs, and sentences as one unit vector each."""

from __future__ import annotations

import pytest
import torch

from edgeopt.export.text import embed_sentences, text_encoder


def test_all_tasks_share_the_inputs_that_the_family_names() -> None:
    tasks = text_encoder(("input_ids", "token_type_ids"))
    for task in tasks.values():
        inputs = task.inputs(None)
        assert {name: (value.shape, value.kind) for name, value in inputs.items()} == {
            "input_ids": (("batch", "sequence"), "tokens"),
            "token_type_ids": (("batch", "sequence"), "zeros"),
        }
    assert text_encoder()["fill-mask"].inputs(None)["attention_mask"].kind == "mask"


@pytest.mark.parametrize(
    ("head", "task", "outputs"),
    [
        ("BertForSequenceClassification", "text-classification", ("logits",)),
        ("BertForTokenClassification", "token-classification", ("logits",)),
        ("XLMForQuestionAnsweringSimple", "question-answering", ("start_logits", "end_logits")),
        ("BertForMaskedLM", "fill-mask", ("logits",)),
        ("BertModel", "feature-extraction", ("last_hidden_state",)),
    ],
)
def test_the_first_task_whose_head_a_class_has_is_its_own(head: str, task: str, outputs: tuple[str, ...]) -> None:
    tasks = text_encoder()
    assert next(name for name, facts in tasks.items() if head.endswith(facts.heads)) == task
    assert tasks[task].outputs == outputs


class Encoder(torch.nn.Module):
    """Returns the hidden states that it was made with, and keeps what it was called with."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, **inputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        self.inputs = inputs
        return self.hidden, None


def test_a_sentence_is_the_unit_vector_of_the_mean_of_its_unmasked_tokens() -> None:
    hidden = torch.tensor([[[6.0, 0.0], [0.0, 8.0], [90.0, -90.0]], [[0.0, -2.0], [50.0, 50.0], [50.0, 50.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    encoder = Encoder(hidden)
    found = embed_sentences(encoder)(attention_mask=mask, input_ids=mask)["sentence_embedding"]
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))  # the means are (3, 4) and (0, −2)
    assert set(encoder.inputs) == {"attention_mask", "input_ids"}


def test_a_sentence_without_tokens_is_no_division_by_zero() -> None:
    found = embed_sentences(Encoder(torch.ones(1, 2, 3)))(attention_mask=torch.zeros(1, 2, dtype=torch.int64))
    assert found["sentence_embedding"].tolist() == [[0.0, 0.0, 0.0]]


def test_half_precision_stays_half() -> None:
    found = embed_sentences(Encoder(torch.ones(1, 2, 4).half()))(attention_mask=torch.ones(1, 2, dtype=torch.int64))
    assert found["sentence_embedding"].dtype == torch.float16
    assert found["sentence_embedding"].tolist() == [[0.5] * 4]
