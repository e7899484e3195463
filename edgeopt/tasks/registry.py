"""Tasks by name, with the names that the hub, transformers and optimum have for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.data.annotations import BoxTruth, SpanTruth
from edgeopt.errors import RecipeError, nearest
from edgeopt.tasks.language_model import LanguageModel
from edgeopt.tasks.multi_label import MultiLabel
from edgeopt.tasks.object_detection import ObjectDetection
from edgeopt.tasks.outputs_only import OutputsOnly
from edgeopt.tasks.question_answering import QuestionAnswering
from edgeopt.tasks.regression import Regression
from edgeopt.tasks.semantic_segmentation import SemanticSegmentation
from edgeopt.tasks.sentence_embeddings import SentenceEmbeddings
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.tasks.speech_recognition import SpeechRecognition
from edgeopt.tasks.task import Task
from edgeopt.tasks.text_to_text import TextToText, Transcription
from edgeopt.tasks.token_classification import TokenClassification
from edgeopt.user_code import named

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples

TASKS: Mapping[str, Callable[[], Task]] = {
    "single-label-classification": SingleLabel,
    "multi-label-classification": MultiLabel,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "regression": Regression,
    "sentence-embeddings": SentenceEmbeddings,
    "object-detection": ObjectDetection,
    "semantic-segmentation": SemanticSegmentation,
    "ctc": SpeechRecognition,
    "text2text-generation": TextToText,
    "speech2seq": Transcription,
    "text-generation": LanguageModel,
}
"""Tasks by their own names."""

ALIASES: Mapping[str, str] = {
    "text-classification": "single-label-classification",
    "sequence-classification": "single-label-classification",
    "zero-shot-classification": "single-label-classification",
    "image-classification": "single-label-classification",
    "audio-classification": "single-label-classification",
    "classification": "single-label-classification",
    "multi-label": "multi-label-classification",
    "ner": "token-classification",
    "extractive-question-answering": "question-answering",
    "text-similarity": "regression",
    "sentence-similarity": "sentence-embeddings",
    "feature-extraction": "sentence-embeddings",
    "text-embedding": "sentence-embeddings",
    "image-embedding": "sentence-embeddings",
    "image-feature-extraction": "sentence-embeddings",
    "detection": "object-detection",
    "segmentation": "semantic-segmentation",
    "image-segmentation": "semantic-segmentation",
    "audio-ctc": "ctc",
    "automatic-speech-recognition": "ctc",
    "speech2seq-lm": "speech2seq",
    "seq2seq-lm": "text2text-generation",
    "translation": "text2text-generation",
    "summarization": "text2text-generation",
    "causal-lm": "text-generation",
    "language-model": "text-generation",
}
"""Names of the hub and of optimum (`optimum.exporters.tasks`) for them."""


def task_names() -> list[str]:
    """Return all names that `find_task` knows, sorted."""
    return sorted({*TASKS, *ALIASES})


def find_task(name: str) -> Task:
    """Return the task called `name`: its own name, an alias, or a user's ``module:callable``.

    Raises:
        RecipeError: there is no such task.
    """
    if ":" in name:
        return _own(name)
    plain = name.partition("/")[0].removesuffix("-with-past")
    known = ALIASES.get(plain, plain)
    if known not in TASKS:
        names = task_names()
        raise RecipeError(f"task '{name}' is not known{nearest(plain, names)}; known: {', '.join(names)}, or module:callable")
    return TASKS[known]()


def reading_name(name: str | None) -> str | None:
    """Return the task's own name for the readers of data; None: the data say it, as for classifiers."""
    plain = None if name is None else ALIASES.get(name.partition("/")[0], name.partition("/")[0])
    return plain if plain in TASKS and plain != "single-label-classification" else None


def task_for(samples: Samples, *names: str | None) -> Task:
    """Return the task that the first of `names` states (None, and ones that are no tasks of this package, are passed over).

    A text classifier may give one class, several, or a number: the labels say which. Where no name states a task, the labels
    alone do; without labels models are judged by their outputs.
    """
    for name in names:
        if name is not None and (":" in name or ALIASES.get(plain := name.partition("/")[0], plain) in TASKS):
            task = find_task(name)
            return _by_labels(samples) or task if isinstance(task, SingleLabel) else task
    return _by_labels(samples) or (SingleLabel() if samples.labels is not None else OutputsOnly())


def _by_labels(samples: Samples) -> Task | None:
    """Return the task that labels other than one class per sample are for; None: there are none, or they are for several."""
    if samples.annotations is None or not len(samples):
        return None
    first = samples.annotations[0]
    match first:
        case BoxTruth():
            return ObjectDetection()
        case SpanTruth():
            return QuestionAnswering()
        case str():
            return TextToText()
    values = np.asarray(first)
    if values.ndim == 0:
        return SentenceEmbeddings() if samples.group == 2 else Regression()
    if values.ndim == 2:
        return SemanticSegmentation()
    same = {np.shape(values) for values in samples.annotations[:64]}
    if values.dtype.kind in "ub" or (len(same) == 1 and np.isin(values, (0, 1)).all() and "input_ids" not in samples[0]):
        return MultiLabel()
    return TokenClassification()


def _own(name: str) -> Task:
    try:
        with named(name) as make:
            task = make() if callable(make) else make
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise RecipeError(f"task '{name}': cannot be made: {error}; give an importable module:callable") from error
    if not isinstance(task, Task):
        raise RecipeError(f"task '{name}': gives {type(task).__name__}; it must give an edgeopt.tasks.Task")
    return task
