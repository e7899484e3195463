"""What goes wrong in a training, said in one line: a loss that is not finite, too little memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from edgeopt.errors import MachineError, ModelError, RecipeError
from edgeopt.train.config import TrainOptions

_VOCABULARY = (
    "training: the samples have token numbers beyond a model's vocabulary: teacher and student must have the tokenizer "
    "that the samples were made with; choose a student with as many embeddings"
)
_ADVICE = "lower train.learning_rate, or look for values in the samples that are not finite"


def check_loss(parts: Mapping[str, float], step: int, checkpoint: Path | None) -> None:
    """Make sure that each part of the loss is finite.

    Raises:
        RecipeError: one is not; step and part are named, and the last checkpoint is kept.
    """
    for name, value in parts.items():
        if not math.isfinite(value):
            raise RecipeError(f"training: the loss '{name}' is {value} at step {step:,}; {_ADVICE}{_kept(checkpoint)}")


def check_gradient(norm: Tensor | float | None, step: int, checkpoint: Path | None) -> None:
    """Make sure that the norm of the gradient is finite, before it reaches the weights.

    Raises:
        RecipeError: it is not.
    """
    if norm is not None and not math.isfinite(float(norm)):
        raise RecipeError(
            f"training: the gradient is {float(norm)} at step {step:,}, with a finite loss; {_ADVICE}{_kept(checkpoint)}"
        )


@contextmanager
def memory_advice(options: TrainOptions) -> Iterator[None]:
    """Turn an allocation that fails inside the block into advice: more micro-batches, with the same result.

    Raises:
        MachineError: memory was not enough.
        ModelError: a token of the samples has no embedding, as where the data's tokenizer is not the model's.
    """
    try:
        yield
    except IndexError as error:
        if "out of range in self" not in str(error):
            raise
        raise ModelError(_VOCABULARY) from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MachineError(_memory(options)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) and "out of memory" not in str(error).lower():
            raise
        raise MachineError(_memory(options)) from error


def _memory(options: TrainOptions) -> str:
    said = f"training: out of memory at batch size {options.batch_size} with accumulation {options.accumulation}"
    more = options.accumulation * 2
    if more > options.batch_size:
        return f"{said}; a single sample does not fit: use shorter samples (max_length) or a smaller model"
    return f"{said}; set train.accumulation={more}: the same result with half the samples at a time"


def _kept(checkpoint: Path | None) -> str:
    return f"; the last good checkpoint is {checkpoint}" if checkpoint is not None and checkpoint.is_file() else ""
