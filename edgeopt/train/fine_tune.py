"""Fine-tune a model on the labels of its task, and save it."""

from __future__ import annotations

from pathlib import Path

from edgeopt.data.augment.views import make_views
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.models.load import LoadedModel
from edgeopt.models.save import check_saved, copy_tokenizer, save_model
from edgeopt.tasks.task import Task
from edgeopt.train.config import TrainOptions
from edgeopt.train.loop import Session, TrainResult, fit
from edgeopt.train.supervised import Supervised
from edgeopt.train.task_loss import check_classes, evaluator, task_loss
from edgeopt.train.watch import Watch


def fine_tune(
    model: LoadedModel,
    samples: Samples,
    task: Task,
    *,
    options: TrainOptions,
    session: Session,
    evaluation: Samples | None = None,
) -> TrainResult:
    """Train `model` in place on the labels of `samples`.

    Args:
        model: trained.
        samples: labelled.
        task: gives loss and metric.
        options: how.
        session: the seed, and where to resume from.
        evaluation: labelled samples that the best weights are chosen with; None: the last weights are kept.

    Raises:
        DataError: labels are missing, or do not fit the model.
    """
    task.need_labels(samples, where="the training split")
    samples = task.with_answers(samples, model.module)
    check_classes(task, model.module, None, samples)
    hard = task_loss(task, samples)
    if hard is None:
        raise DataError(f"the training split has no labels, and {task.name} needs {task.wanted}")
    augment = None if isinstance(options.augment, str) else options.augment
    views = make_views(samples, augment, seed=session.seed, tokenizer=model.folder)
    watch = Watch(evaluator(task, evaluation) if evaluation is not None else None, views=views)
    return fit(model.module, samples, Supervised(hard, task.call), options=options, session=session, watch=watch)


def save_trained(model: LoadedModel, samples: Samples, output: Path) -> None:
    """Write a trained model to the folder `output`, with its tokenizer, and check what was written."""
    save_model(model.module, output, origin=model.origin)
    copy_tokenizer(model.folder, output)
    if model.origin is not None:
        check_saved(model.module, output, model.origin, samples.collate([0]))
