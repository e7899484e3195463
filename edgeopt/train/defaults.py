"""Options that a recipe leaves open, decided by what is trained and from what."""

from __future__ import annotations

from torch import nn

from edgeopt.train.config import TrainOptions

_PLAIN, _WITH_TEACHER, _ALONE, _ADAPTER = 1e-3, 2e-4, 5e-5, 5e-4


def settled(options: TrainOptions, model: nn.Module, *, teacher: bool = False) -> TrainOptions:
    """Return `options` with a learning rate, and nothing frozen or augmented where nothing is said.

    Args:
        options: as the user gave them.
        model: what is trained.
        teacher: whether a teacher's soft labels are learned; they allow larger steps.
    """
    changes: dict[str, object] = {}
    if options.learning_rate is None:
        transformer = hasattr(model, "save_pretrained")
        fine = _ADAPTER if options.adapter else _WITH_TEACHER if teacher else _ALONE
        changes["learning_rate"] = fine if transformer else _PLAIN
    if options.freeze is None:
        changes["freeze"] = []
    return options.model_copy(update=changes) if changes else options
