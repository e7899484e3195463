"""Tasks of text encoders, used by families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeopt.export.family import Config, Input, Module, Task

_SHAPE = ("batch", "sequence")
_KINDS: dict[str, Any] = {"input_ids": "tokens", "attention_mask": "mask", "token_type_ids": "zeros"}


def text_inputs(names: Sequence[str]) -> Callable[[Config], Mapping[str, Input]]:
    """Return a task's `inputs`: the tokens, mask and segments called `names`, with a shared batch and sequence."""
    return lambda config: {name: Input(_SHAPE, _KINDS[name]) for name in names}  # noqa: ARG005


def text_encoder(names: Sequence[str] = ("input_ids", "attention_mask")) -> dict[str, Task]:
    """Return the tasks of a text encoder that takes the inputs `names`."""
    inputs = text_inputs(names)
    return {
        "text-classification": Task(("ForSequenceClassification",), "AutoModelForSequenceClassification", inputs, ("logits",)),
        "token-classification": Task(("ForTokenClassification",), "AutoModelForTokenClassification", inputs, ("logits",)),
        "question-answering": Task(
            ("ForQuestionAnswering", "ForQuestionAnsweringSimple"),
            "AutoModelForQuestionAnswering",
            inputs,
            ("start_logits", "end_logits"),
        ),
        "fill-mask": Task(("ForMaskedLM",), "AutoModelForMaskedLM", inputs, ("logits",)),
        "feature-extraction": Task(("Model",), "AutoModel", inputs, ("last_hidden_state",)),
        "sentence-similarity": Task(("Model",), "AutoModel", inputs, ("sentence_embedding",), wrap=embed_sentences),
    }


def embed_sentences(model: Module) -> Module:
    """Wrap an encoder so that it returns one unit vector per sentence: the normalised mean of its unmasked tokens."""
    import torch

    class SentenceEmbedding(torch.nn.Module):
        """Mean pooling and L2 normalisation (https://arxiv.org/abs/1908.10084, section 3)."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = model

        def forward(self, attention_mask: torch.Tensor, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            """Return `sentence_embedding`, [batch, features]."""
            hidden = self.encoder(attention_mask=attention_mask, **inputs)[0]
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            return {"sentence_embedding": torch.nn.functional.normalize(mean, dim=1)}

    return SentenceEmbedding()
