"""One row of the table of families: a tiny random model, exported and compared, from nothing but the family's data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeopt.batches import Batch
from edgeopt.errors import EdgeoptError
from edgeopt.export.config import ExportConfig
from edgeopt.export.family import Family, random_samples
from edgeopt.export.greedy_check import decode, decode_without_cache, shortfall
from edgeopt.export.precision import TOLERANCES, FloatType, cast, weights_in
from edgeopt.export.stage import export
from edgeopt.export.widen import feed, open_runnable
from edgeopt.targets.target import Target

_TOKENS = 32


@dataclass(frozen=True)
class Row:
    """Result for one family and task.

    Attributes:
        dynamic: the named axes of the inputs.
        operators: number of nodes by operator.
        dtype: floating-point type of weights, inputs and outputs.
        greedy: whether 32 greedily decoded tokens equal PyTorch's; None where nothing is decoded.
        shortfall: where they differ, the gap of their logits to the best ones (`greedy.shortfall`).
        reason: why the export failed; "" if it did not.
    """

    family: str
    task: str
    exports: bool
    dtype: FloatType = "float32"
    dynamic: tuple[str, ...] = ()
    relative_error: float | None = None
    nodes: int = 0
    attention_nodes: int = 0
    operators: Mapping[str, int] = field(default_factory=dict)
    layers: int = 0
    seconds: float = 0.0
    greedy: bool | None = None
    shortfall: float = 0.0
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether the family exports and decodes the same text as PyTorch, in half precision except for ties by rounding."""
        tied = self.dtype != "float32" and self.shortfall <= TOLERANCES[self.dtype]
        return self.exports and (self.greedy is not False or tied)


def tiny_model(family: Family, task: str) -> Any:
    """Return a random model of `family` with the head of `task`, in evaluation mode, the same at every call."""
    import transformers

    config = transformers.CONFIG_MAPPING[family.model_types[0]](**family.tiny)
    config.architectures = []  # the Auto classes look there for a hint, and some of them reject None
    torch.manual_seed(0)
    model = getattr(transformers, family.tasks[task].auto).from_config(config)
    _spread(model)
    if task == "object-detection":
        _settle(model.eval(), random_samples(family.tasks[task], config)[0])
    return model.eval()


def _settle(model: torch.nn.Module, batch: Batch) -> None:
    """Set the statistics of every batch normalisation to those of `batch`, in the order they are used, as training does.

    Without it the images hardly matter after a dozen layers, and detectors choose among candidates whose scores differ by
    rounding alone.
    """

    def before(norm: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance.clamp(min=1e-2))

    norms = [part for part in model.modules() if isinstance(getattr(part, "running_mean", None), torch.Tensor)]
    hooks = [norm.register_forward_pre_hook(before) for norm in norms]
    with torch.no_grad():
        model(**{name: torch.from_numpy(array) for name, array in batch.items()})
    for hook in hooks:
        hook.remove()


def _spread(model: torch.nn.Module) -> None:
    """Make weights larger than the initialisation: outputs that hardly depend on the input would prove nothing."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=float(weight[0].numel()) ** -0.5)
            elif weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.1)


def prove(family: Family, task: str, *, target: Target, folder: Path, dtype: FloatType = "float32") -> Row:
    """Export a tiny model of `family` for `task` as `dtype` into `folder` and return what was measured."""
    started = time.perf_counter()
    model = tiny_model(family, task)
    samples = random_samples(family.tasks[task], model.config)
    config = ExportConfig(task=task, dtype=dtype, decoder="portable")
    try:
        result = export(model, samples, target=target, output=folder, config=config)
        with weights_in(model, dtype):
            decoded = _decoded(model, family, config, target=target, folder=folder)
    except EdgeoptError as error:
        return Row(family.name, task, exports=False, dtype=dtype, seconds=time.perf_counter() - started, reason=str(error))
    axes = {str(size) for value in result.inputs for size in value.shape if isinstance(size, str)}
    return Row(
        family=family.name,
        task=task,
        exports=True,
        dtype=dtype,
        dynamic=tuple(sorted(axes)),
        relative_error=result.parity.relative_error,
        nodes=result.nodes,
        attention_nodes=result.op_counts.get("Attention", 0),
        operators=result.op_counts,
        layers=int(getattr(model.config, "num_hidden_layers", 0) or 0),
        seconds=time.perf_counter() - started,
        greedy=None if decoded is None else decoded[0],
        shortfall=0.0 if decoded is None else decoded[1],
    )


def _decoded(model: Any, family: Family, config: ExportConfig, *, target: Target, folder: Path) -> tuple[bool, float] | None:
    """Decode 32 tokens with the exported decoder in `folder`: whether they equal PyTorch's, and their shortfall."""
    task = config.task or ""
    prompt = np.array([[7, 11, 13], [17, 19, 23]], dtype=np.int64)
    source: Batch = {}
    given: Batch = {}
    if task.endswith("/decoder"):
        reader = config.model_copy(update={"task": task.removesuffix("decoder") + "encoder"})
        drawn = random_samples(family.tasks[reader.task or ""], model.config)
        source = cast(next(batch for batch in drawn if len(next(iter(batch.values()))) == 2), config.dtype or "float32")
        export(model, [source], target=target, output=folder / "encoder", config=reader)
        given = _read(folder / "encoder" / "model.onnx", source)
    elif task != "text-generation":
        return None
    found = decode(open_runnable(folder / "model.onnx"), prompt, steps=_TOKENS, given=given)
    equal = bool(np.array_equal(found, decode_without_cache(model, prompt, steps=_TOKENS, source=source)))
    return equal, 0.0 if equal else shortfall(model, prompt, found, source=source)


def _read(path: Path, source: Batch) -> Batch:
    """Return the outputs of the encoder at `path` for `source`, and its mask, as inputs of the decoder."""
    encoder = open_runnable(path)
    names = [value.name for value in encoder.get_outputs()]
    given = dict(zip(names, encoder.run(names, feed(encoder, source)), strict=True))
    if "attention_mask" in source:
        given["encoder_attention_mask"] = source["attention_mask"]
    return given
