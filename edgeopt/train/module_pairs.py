"""What goes on inside: pairs of modules of student and teacher whose results are compared while both run.

Built once per training from the options: which layers match, which modules are recorded, which projections are learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from edgeopt.batches import Batch
from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.call import named_outputs, to_tensors
from edgeopt.models.record import attention_heads, attention_projections, hidden_width, layer_names, recording
from edgeopt.train.config import DistillLoss
from edgeopt.train.objective import TrainBatch
from edgeopt.train.objectives.attention_maps import attention_maps
from edgeopt.train.objectives.attention_transfer import attention_transfer
from edgeopt.train.objectives.channelwise import channel_projection, channelwise
from edgeopt.train.objectives.hidden_states import hidden_states, projection_between
from edgeopt.train.objectives.relations import relations

Pairs = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of the student's modules, and of the teacher's."""
_MASK = "attention_mask"


@dataclass(frozen=True)
class Inner:
    """The parts of the loss that compare inner results.

    Attributes:
        weights: of each part.
        modules: of each part the modules of student and teacher.
        heads: number of relation heads.
        attention: number of attention heads of student and teacher.
        kind: how feature maps are compared.
        projections: what is learned along; None: nothing.
    """

    weights: Mapping[str, float]
    modules: Mapping[str, Pairs]
    heads: int = 1
    attention: tuple[int, int] = (1, 1)
    kind: str = "attention-transfer"
    projections: nn.ModuleDict | None = field(default=None)

    @property
    def student_modules(self) -> list[str]:
        """Names of the student's modules to record."""
        return [name for ours, _ in self.modules.values() for name in ours]

    @property
    def teacher_modules(self) -> list[str]:
        """Names of the teacher's modules to record."""
        return [name for _, theirs in self.modules.values() for name in theirs]

    def begin_projection(self, basis: Tensor) -> None:
        """Let the projection of hidden states begin as `basis`, [teacher's width, student's width]."""
        projection = self._projection("hidden")
        if isinstance(projection, nn.Linear) and projection.weight.shape == basis.shape:
            with torch.no_grad():
                projection.weight.copy_(basis)

    def count(self, part: str, batch: TrainBatch) -> float:
        """Return the number of elements of a part: samples of feature maps, else tokens."""
        return float(len(batch)) if part == "features" or _MASK not in batch.inputs else float(batch.inputs[_MASK].sum())

    def sums(self, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], batch: TrainBatch) -> dict[str, Tensor]:
        """Return by part the sum of the loss over its elements."""
        found = {}
        for part in self.weights:
            mine, teachers = self.modules[part]
            pair = [ours[name].float() for name in mine], [theirs[name].float() for name in teachers]
            found[part] = self._sum(part, *pair, batch)
        return found

    def _sum(self, part: str, ours: list[Tensor], theirs: list[Tensor], batch: TrainBatch) -> Tensor:
        mask = batch.inputs.get(_MASK)
        if part == "features":
            if self.kind == "attention-transfer":
                return attention_transfer(ours, theirs, reduction="sum")
            maps = [self._projection(f"features{index}") for index in range(len(ours))]
            return channelwise(ours, theirs, projections=maps, reduction="sum")
        if part == "hidden":
            return hidden_states(ours, theirs, mask=mask, projection=self._projection("hidden"), reduction="sum")
        if mask is None:
            raise ModelError(f"the loss '{part}' needs samples with an attention_mask")
        if part == "relations":
            return relations(ours, theirs, heads=self.heads, mask=mask, reduction="sum")
        maps_ours, maps_theirs = (
            _maps(values, heads, mask) for values, heads in zip((ours, theirs), self.attention, strict=True)
        )
        return attention_maps(maps_ours, maps_theirs, mask=mask, reduction="sum")

    def _projection(self, name: str) -> nn.Module | None:
        return self.projections[name] if self.projections is not None and name in self.projections else None


def inner_of(
    student: nn.Module, teacher: nn.Module, options: DistillLoss, layers: Sequence[int] | None, sample: Batch
) -> Inner | None:
    """Return the inner parts that `options` ask for; None: none.

    Args:
        student: will be trained.
        teacher: frozen.
        options: weights and pairs.
        layers: for each student layer the matching layer of the teacher; None: spread evenly.
        sample: one batch, to see the widths of feature maps.

    Raises:
        ModelError: a model lacks the layers or modules, or their widths do not fit.
        RecipeError: an option does not fit the models.
    """
    weights: dict[str, float] = {}
    modules: dict[str, Pairs] = {}
    projections: dict[str, nn.Module] = {}
    heads, attention = 1, (1, 1)
    if options.hidden_weight or options.attention_weight or options.relation_weight:
        ours, theirs = layer_names(student), layer_names(teacher)
        matching = [theirs[index] for index in matched(len(ours), len(theirs), layers)]
        if options.hidden_weight:
            weights["hidden"], modules["hidden"] = options.hidden_weight, (tuple(ours), tuple(matching))
            projection = projection_between(_width(student), _width(teacher))
            projections |= {"hidden": projection} if projection is not None else {}
        if options.relation_weight:
            chosen = _layer(theirs, options.relation_layer)
            pair = attention_projections(student, ours[-1]), attention_projections(teacher, chosen)
            weights["relations"], modules["relations"] = options.relation_weight, (tuple(pair[0]), tuple(pair[1]))
            heads = options.relation_heads or _relation_heads(student, teacher)
        if options.attention_weight:
            modules["attention"] = tuple(_queries_and_keys(student, ours)), tuple(_queries_and_keys(teacher, matching))
            weights["attention"] = options.attention_weight
            attention = _heads(student), _heads(teacher)
    if options.feature_weight:
        if not options.features:
            raise RecipeError("loss.feature_weight needs loss.features: pairs of module names of student and teacher")
        pairs = tuple(pair.student for pair in options.features), tuple(pair.teacher for pair in options.features)
        weights["features"], modules["features"] = options.feature_weight, pairs
        if options.feature_kind == "channelwise":
            projections |= _channel_projections(student, teacher, pairs, sample)
    if not weights:
        return None
    learned = nn.ModuleDict(projections) if projections else None
    return Inner(weights, modules, heads, attention, options.feature_kind, learned)


def matched(student: int, teacher: int, layers: Sequence[int] | None) -> list[int]:
    """Return the teacher's layer for each of `student` layers: the given ones, or evenly spread with the last one last."""
    if layers is not None and len(layers) == student:
        return list(layers)
    return [math.ceil((index + 1) * teacher / student) - 1 for index in range(student)]


def _layer(names: Sequence[str], index: int) -> str:
    if not -len(names) <= index < len(names):
        raise RecipeError(f"loss.relation_layer is {index}: the teacher has layers 0 to {len(names) - 1}")
    return names[index]


def _width(model: nn.Module) -> int:
    width = hidden_width(model)
    if width is None:
        raise ModelError(f"{type(model).__name__} does not say how wide its hidden states are; set loss.hidden_weight to 0")
    return width


def _heads(model: nn.Module) -> int:
    if any(name.endswith("rotary_emb") for name, _ in model.named_modules()):
        raise ModelError(
            f"{type(model).__name__} has rotary positions, so its attention maps do not follow from queries and keys; "
            "use loss.relation_weight"
        )
    heads = attention_heads(model)
    if heads is None:
        raise ModelError(f"{type(model).__name__} does not say how many attention heads it has")
    return heads


def _relation_heads(student: nn.Module, teacher: nn.Module) -> int:
    """Return the largest divisor of both widths that is not above the teacher's attention heads."""
    common = math.gcd(_width(student), _width(teacher))
    most = attention_heads(teacher) or 12
    return max(heads for heads in range(1, most + 1) if common % heads == 0)


def _queries_and_keys(model: nn.Module, layers: Sequence[str]) -> list[str]:
    return [name for layer in layers for name in attention_projections(model, layer)[:2]]


def _maps(values: Sequence[Tensor], heads: int, mask: Tensor) -> list[Tensor]:
    """Return attention maps softmax(q kᵀ / √d) [N, heads, sequence, sequence] of queries and keys in turn."""
    maps = []
    for query, key in zip(values[::2], values[1::2], strict=True):
        count, length, width = query.shape
        q, k = (one.reshape(count, length, heads, width // heads).transpose(1, 2) for one in (query, key))
        scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5
        hidden = torch.finfo(scores.dtype).min / 4
        maps.append(scores.masked_fill(~mask.bool()[:, None, None, :], hidden).softmax(dim=-1))
    return maps


@torch.no_grad()
def _channel_projections(student: nn.Module, teacher: nn.Module, pairs: Pairs, sample: Batch) -> dict[str, nn.Module]:
    inputs = to_tensors(sample)
    channels = []
    for model, names in zip((student, teacher), pairs, strict=True):
        was = model.training
        model.eval()
        with recording(model, names) as seen:
            named_outputs(model, inputs)
        model.train(was)
        channels.append([seen[name].shape[1] for name in names])
    made = {
        f"features{index}": channel_projection(ours, theirs) for index, (ours, theirs) in enumerate(zip(*channels, strict=True))
    }
    return {name: module for name, module in made.items() if module is not None}
