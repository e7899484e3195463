"""Parameter-efficient training by peft: what is learned is merged into the weights when the training ends.

LoRA: Hu et al. (2021), https://arxiv.org/abs/2106.09685. Each chosen weight W stays frozen; trained is W + (alpha / r) · B A
with B [out, r] and A [r, in]. Merged, the model has the layers it had before, so it is exported as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from edgeopt.errors import ModelError
from edgeopt.extras import need
from edgeopt.models.kept import is_conv1d
from edgeopt.train.config import AdapterOptions
from edgeopt.train.virtual_tokens import trained_virtual_tokens

_HEADS = ("classifier", "score", "qa_outputs", "lm_head", "head", "fc", "pre_classifier")


@contextmanager
def attach(model: nn.Module, options: AdapterOptions | None) -> Iterator[None]:
    """Freeze `model` and train an adapter inside the block; it is merged into the weights at the end.

    Raises:
        ModelError: no layer has the wanted name, or the model has no linear layer.
    """
    if options is None:
        yield
        return
    head = [name for name, parameter in model.named_parameters() if _is_head(name) and parameter.requires_grad]
    with _low_rank(model, options) if options.kind == "lora" else trained_virtual_tokens(model):
        for name, parameter in model.named_parameters():
            if options.train_head and name in head and not (options.kind == "p-tuning" and name.startswith("lm_head.")):
                parameter.requires_grad_(True)
        yield


@contextmanager
def _low_rank(model: nn.Module, options: AdapterOptions) -> Iterator[None]:
    need("peft", purpose="training with LoRA")
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    targets = options.targets or _linear_layers(model)
    if not targets:
        raise ModelError(f"{type(model).__name__} has no linear layer besides its head for LoRA; train all of it (no adapter)")
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        fan_in_fan_out=any(is_conv1d(module) for module in model.modules()),
    )
    try:
        tuner = LoraModel(model, config, "default")
    except ValueError as error:
        raise ModelError(f"LoRA does not fit {type(model).__name__}: {str(error).splitlines()[0]}") from error
    yield
    tuner.merge_and_unload(progressbar=False)
    model.requires_grad_(True)


def _linear_layers(model: nn.Module) -> list[str]:
    layers = [(name, module) for name, module in model.named_modules() if name and not _is_head(name)]
    return [name for name, module in layers if isinstance(module, nn.Linear) or is_conv1d(module)]


def _is_head(name: str) -> bool:
    return any(part in _HEADS for part in name.split("."))
