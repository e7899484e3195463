"""A trained transformers encoder with a new, random head: what is fine-tuned for a task of one's own.

In a recipe:

    [teacher]
    source = "edgeopt.models.new_head:new_head"
    arguments = { source = "FOLDER", task = "token-classification", labels = ["O", "B-LOC", "I-LOC"] }
    train = { epochs = 2 }
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgeopt.errors import ModelError, nearest
from edgeopt.models.load import AUTO_CLASSES
from edgeopt.models.pretrained import read_config, read_pretrained


def new_head(source: str, task: str, labels: Sequence[str], seed: int = 0) -> nn.Module:
    """Return the encoder in the folder (or of the hub id) `source` with a head for `task` and `labels`.

    Raises:
        ModelError: there is no such model or task, or the weights of the encoder itself would be random.
    """
    import transformers

    if task not in AUTO_CLASSES:
        raise ModelError(f"task '{task}' is not known{nearest(task, AUTO_CLASSES)}; known: {', '.join(AUTO_CLASSES)}")
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    names = {number: str(name) for number, name in enumerate(labels)}
    auto: Any = getattr(transformers, AUTO_CLASSES[task])
    config = read_config(
        source, id2label=names, label2id={name: number for number, name in names.items()}, num_labels=len(names)
    )
    module, info = read_pretrained(auto, source, config=config)
    base = getattr(module, "base_model_prefix", "")
    inner = [name for name in info["missing_keys"] if base and name.startswith(f"{base}.")]
    if inner:
        raise ModelError(f"{source}: has no weights for {sorted(inner)[0]} of the encoder; give a trained one")
    loaded: nn.Module = module.eval()
    return loaded
