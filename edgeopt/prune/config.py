"""Options of pruning."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from edgeopt.config import Options
from edgeopt.prune.sparse.pattern import read_pattern
from edgeopt.prune.structure.names import Rule
from edgeopt.train.config import DistillLoss, TrainOptions

BUDGETS = ("macs", "parameters", "latency", "units")
"""Options that say how much is left; one of them is given."""
_LATENCY = re.compile(r"(\d+(?:\.\d+)?)\s*(x|ms)")


class PruneOptions(Options):
    """How much is removed, in which order, and how the model recovers."""

    macs: float = Field(default=0.5, gt=0, lt=1)
    """Largest share of the multiply-accumulates to keep; not used where `parameters` or `latency` is given."""
    parameters: float | None = Field(default=None, gt=0, lt=1)
    """Largest share of the parameters to keep."""
    units: dict[str, int] = Field(default_factory=dict)
    """Instead of a budget: how many heads or neurons are left of each part of a transformer, such as
    `"bert.encoder.layer.0" = 384`; parts that are not named stay whole. `edgeopt search` writes it."""
    latency: str | None = None
    """Longest latency on the target, such as ``5ms``, or ``0.5x`` for half of the whole model's."""
    precision: Literal["fp32", "int8"] = "fp32"
    """The form of the model whose latency is meant."""
    sequence: int = Field(default=64, ge=1)
    """Tokens of the text whose latency is meant."""
    importance: Literal["auto", "magnitude", "taylor", "fisher", "activations", "movement", "obs", "norm-scale"] = "auto"
    """How units are ranked. magnitude: norm of all weights that go; taylor: first-order change of the loss; fisher: diagonal
    Fisher information; activations: weights times inputs (Wanda); movement: where a short training moves weights; obs: error
    of the layer's output, with an update of what is left; norm-scale: factors of the batch normalisations; auto: obs for
    transformers and, where a latency is asked for, for other networks; else magnitude. In other networks obs, activations,
    fisher and movement choose the width of every layer by what it costs, and fit the layers that read it; magnitude, taylor and
    norm-scale rank coupled channels over the network."""
    scope: Literal["global", "layer"] = "global"
    """global: rank over the whole model; layer: remove the same share of every layer."""
    round_to: int | None = Field(default=None, ge=1)
    """Channel counts become multiples of this, which kernels compute fastest; none: the target's step, or 8."""
    max_layer_share: float = Field(default=0.8, gt=0, lt=1)
    """Largest share of its channels that a convolutional layer may lose."""
    ignore: list[str] = Field(default_factory=list)
    """Names, or patterns such as ``*.layer.0.*``, of layers that are not pruned; a model's last linear layers never are."""
    rules: list[Rule] = Field(default_factory=list)
    """Transformers of your own: which linear layers make heads or neurons, and which read them."""
    heads: bool = True
    """Remove attention heads (or groups of them that share keys and values)."""
    neurons: bool = True
    """Remove neurons of feed-forward networks."""
    drop_layers: int = Field(default=0, ge=0)
    """Remove this many whole layers of a transformer first: those whose absence changes the outputs least."""
    rounds: int = Field(default=1, ge=1, le=20)
    """Prune in this many rounds with a recovery after each, which share time and epochs; the budget, a share, falls by the
    same factor in each. Layers and hidden width go in the first round, single weights in the last."""
    hidden: float | None = Field(default=None, gt=0)
    """Narrow a transformer's hidden width first: below 1 the share of it to keep, otherwise the width; rounded to multiples of
    the target's step. Channels are ranked by weights times inputs of all layers that read them, or by magnitude."""
    vocabulary: bool = False
    """Remove the tokens that the training texts never use: their rows in the embedding and the head, and the tokens in
    tokenizer.json (WordPiece, BPE with its merges, Unigram), whose new form is checked token by token on these texts. Single
    characters, bytes and special tokens stay."""
    sparsity: str | float | None = None
    """Set single weights to zero, after what else is removed: a share such as 0.5, or ``2:4`` for two of every four. CPU
    providers gain no speed from it; the compressed file becomes smaller."""
    sparsity_method: Literal["magnitude", "wanda", "sparsegpt"] = "sparsegpt"
    """Which weights become zero. magnitude: the smallest; wanda: the smallest weights times inputs; sparsegpt: those that make
    up for the others change the layer's output least, layer by layer."""
    calibration_samples: int = Field(default=128, ge=1)
    """Number of training samples that importances and errors are computed on."""
    search_rounds: int | None = Field(default=None, ge=1)
    """Number of allocations that are tried on the calibration samples (SPDY); 1: only that with the smallest sum of errors;
    none: 100, or fewer (at least 8) where these would take more than 2·10¹² multiply-accumulates."""
    recovery: Literal["train", "lora", "fit", "none"] = "train"
    """train: train all weights against the teacher; lora: low-rank updates of them, merged; fit: least squares layer by
    layer on the calibration samples; none: weights as they are."""
    loss: DistillLoss = DistillLoss()
    """Loss of the recovery training against the teacher."""
    train: TrainOptions = TrainOptions()
    """Recovery training; the learning rate of a transformer or a detector is 1e-4 unless it is given."""

    @model_serializer(mode="wrap")
    def _with_one_budget(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the default budget out where it was not given, so that what is written means the same when it is read."""
        values: dict[str, Any] = write(self)
        if "macs" not in self.model_fields_set:
            values.pop("macs", None)
        return values

    @field_validator("latency")
    @classmethod
    def _latency_read(cls, value: str | None) -> str | None:
        if value is not None and (not (found := _LATENCY.fullmatch(value)) or float(found[1]) <= 0):
            raise ValueError("write 5ms, or 0.5x for half of the whole model's latency")
        return value

    @field_validator("sparsity")
    @classmethod
    def _sparsity_read(cls, value: str | float | None) -> str | None:
        if value is None:
            return None
        read_pattern(str(value))
        return str(value)

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in BUDGETS if name in self.model_fields_set and getattr(self, name) not in (None, {})]
        if len(given) > 1:
            raise ValueError(f"give one budget, not {' and '.join(given)}")
        if self.latency is not None and self.latency.endswith("x") and float(self.latency[:-1]) >= 1:
            raise ValueError("a latency share must be below 1x")
        if self.rounds > 1 and (self.without_budget or self.units or (self.latency or "").endswith("ms")):
            raise ValueError("several rounds need a budget that is a share, such as 0.5x")
        return self

    @property
    def without_budget(self) -> bool:
        """Return whether only what other options name is removed: no budget was given, and at least one of them was."""
        others = bool(self.drop_layers) or self.hidden is not None or self.vocabulary or self.sparsity is not None
        return others and not self.units and not self.model_fields_set & {"macs", "parameters", "latency"}

    def budget(self, whole: float) -> float:
        """Return the largest cost allowed, in the unit of the whole model's cost `whole`."""
        if self.latency is not None:
            number, unit = _LATENCY.fullmatch(self.latency).groups()  # type: ignore[union-attr]  # (checked above)
            return float(number) * (whole if unit == "x" else 1.0)
        return whole * (self.parameters or self.macs)

    def in_round(self, number: int) -> PruneOptions:
        """Return the options of one of the `rounds`: share^(1 / rounds) of what the one before left."""
        if self.rounds == 1:
            return self
        name = next((name for name in ("latency", "parameters") if getattr(self, name) is not None), "macs")
        given = getattr(self, name)
        share = (float(given[:-1]) if isinstance(given, str) else given) ** (1 / self.rounds)
        changes = {name: f"{share:.6f}x" if isinstance(given, str) else share}
        first = {} if number == 0 else {"hidden": None, "drop_layers": 0}
        return self.model_copy(update={**changes, **first})

    def asked(self) -> str:
        """Return the budget as it was given, for messages."""
        if self.latency is not None:
            return f"latency {self.latency}"
        if self.units:
            return "the given units"
        return f"parameters {self.parameters:.4g}x" if self.parameters else f"macs {self.macs:.4g}x"
