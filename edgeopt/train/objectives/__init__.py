"""Objectives of distillation, one file each: plain functions of tensors, usable in any training loop.

Each returns the mean over its elements (samples, tokens, layers), or with ``reduction="sum"`` their sum, which a caller
divides by the number of elements of the whole batch; see `edgeopt.train.objective` for why.

    class Trainer(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, **_):
            outputs = model(**inputs)
            with torch.no_grad():
                teacher = self.teacher(**inputs)
            loss = soft_labels(outputs.logits, teacher.logits, temperature=2.0)
            return (loss, outputs) if return_outputs else loss
"""

from __future__ import annotations

from edgeopt.train.objectives.attention_maps import attention_maps
from edgeopt.train.objectives.attention_transfer import attention_transfer
from edgeopt.train.objectives.channel_values import channel_values, channel_variances
from edgeopt.train.objectives.channelwise import channelwise
from edgeopt.train.objectives.cross_model import cross_model
from edgeopt.train.objectives.decoupled import decoupled
from edgeopt.train.objectives.embeddings import embedding_values, pairwise_similarities
from edgeopt.train.objectives.hidden_states import hidden_states
from edgeopt.train.objectives.relations import relations
from edgeopt.train.objectives.sequences import Drawn, Written, on_policy, sequence_likelihood, written
from edgeopt.train.objectives.sigmoid import sigmoid_labels
from edgeopt.train.objectives.soft_labels import soft_labels
from edgeopt.train.objectives.spans import aligned_spans, span_likelihoods
from edgeopt.train.objectives.tokens import Divergence, token_divergence
from edgeopt.train.objectives.top_classes import TopClasses, top_classes, top_divergence

__all__ = [
    "Divergence",
    "Drawn",
    "TopClasses",
    "Written",
    "aligned_spans",
    "attention_maps",
    "attention_transfer",
    "channel_values",
    "channel_variances",
    "channelwise",
    "cross_model",
    "decoupled",
    "embedding_values",
    "hidden_states",
    "on_policy",
    "pairwise_similarities",
    "relations",
    "sequence_likelihood",
    "sigmoid_labels",
    "soft_labels",
    "span_likelihoods",
    "token_divergence",
    "top_classes",
    "top_divergence",
    "written",
]
