"""Options of the training loop and of the losses of distillation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from edgeopt.config import Options
from edgeopt.data.augment.config import AugmentOptions

SCHEDULES = ("cosine", "linear", "constant", "inverse-sqrt")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop", "adafactor")


class ParameterGroup(Options):
    """Parameters that are trained differently from the rest."""

    match: str
    """Regular expression; parameters whose name it is found in belong to the group (the first group that matches)."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Highest learning rate of the group; none: the training's."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Weight decay of the group; none: the training's."""


class AdapterOptions(Options):
    """Parameter-efficient training by peft; what is learned is merged into the weights before the model is saved."""

    kind: Literal["lora", "p-tuning"] = "lora"
    """lora: low-rank updates of linear layers (https://arxiv.org/abs/2106.09685). p-tuning: tokens without a text in front of
    every text (https://arxiv.org/abs/2103.10385), which tokenizer and chat template of the saved model put there."""
    virtual_tokens: int = Field(default=20, ge=1)
    """p-tuning: number of tokens in front of every text."""
    rank: int = Field(default=8, ge=1)
    """Rank of the updates."""
    alpha: int = Field(default=16, ge=1)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in front of the updates."""
    targets: list[str] | None = None
    """Endings of the names of the linear layers that are updated; none: all linear layers but the head."""
    train_head: bool = True
    """Train the classification head as well."""

    @model_validator(mode="after")
    def _of_the_kind(self) -> Self:
        others = {"virtual_tokens"} if self.kind == "lora" else {"rank", "alpha", "dropout", "targets"}
        defaults = type(self).model_fields
        for name in sorted(name for name in others if getattr(self, name) != defaults[name].default):
            raise ValueError(f"{name} is no option of kind = {self.kind}; leave it out")
        return self


class TrainOptions(Options):
    """How a model is trained."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training split; may be a fraction."""
    batch_size: int = Field(default=32, ge=1)
    """Samples per step, over all processes and micro-batches."""
    accumulation: int = Field(default=1, ge=1)
    """Micro-batches that a step is divided into, to need less memory; the result is the same."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Train at most this long: the schedule then ends with the time (not the same result bit for bit); none: no limit."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Highest learning rate of the schedule; none: 1e-3, for transformers models 2e-4 with a teacher and 5e-5 without (adapters
    5e-4)."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay; not applied to normalisations and biases."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    schedule: str = "cosine"
    """How the learning rate falls after the warm-up: cosine, linear, constant, inverse-sqrt, or module:callable, which maps
    (step, steps) to a factor."""
    optimizer: str = "adamw"
    """adamw, adam, sgd, rmsprop, adafactor, or module:callable, which maps (groups, learning rate) to an optimizer."""
    groups: list[ParameterGroup] = Field(default_factory=list)
    """Parameters with a learning rate or a weight decay of their own."""
    freeze: list[str] | None = None
    """Regular expressions; parameters whose name one is found in are not trained (and normalisation statistics stay). None: a
    student that has the teacher's embeddings keeps them, everything else is trained."""
    adapter: AdapterOptions | None = None
    """Train a small adapter in place of all weights; none: all weights."""
    augment: AugmentOptions | Literal["none"] | None = None
    """Random views of the samples; teacher and student see the same view. "none": the samples as they are. None: parts of
    sentences where a text classifier is distilled, else the samples as they are."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    precision: Literal["no", "bf16", "fp16", "auto"] = "auto"
    """Mixed precision, as in Accelerate; auto: bf16 where the machine computes with it (on CPUs for transformers models)."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations, where there are evaluation samples; none: once per epoch."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better one; none: never."""
    keep: Literal["best", "last"] = "best"
    """Which weights the training ends with, where it is evaluated: those of the best evaluation, or the last ones."""
    checkpoint_seconds: float = Field(default=10.0, ge=0)
    """Seconds between checkpoints; a killed training resumes from the last one."""
    teacher_cache_bytes: int = Field(default=2 * 2**30, ge=0)
    """Disk space for the teacher's outputs on each view, which later epochs read instead of running it; 0: none."""
    trackers: list[str] = Field(default_factory=list)
    """Where loss, metric and learning rate are logged: names that Accelerate knows, such as tensorboard."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for value, names, what in ((self.schedule, SCHEDULES, "schedule"), (self.optimizer, OPTIMIZERS, "optimizer")):
            if value not in names and ":" not in value:
                raise ValueError(f"{what} '{value}' is not known; choose {', '.join(names)} or module:callable")
        return self


class FeaturePair(Options):
    """Two modules whose feature maps are compared."""

    student: str
    """Name of the student's module, as in named_modules()."""
    teacher: str
    """Name of the teacher's module."""


class DistillLoss(Options):
    """The loss a student is trained with: a weighted sum of its parts; a weight of 0 leaves a part out."""

    temperature: float = Field(default=4.0, gt=0)
    """Divides the logits of teacher and student before softmax; the loss is multiplied by its square."""
    soft_weight: float = Field(default=0.7, ge=0, le=1)
    """Weight of the soft-label loss; the rest is the loss on the hard labels."""
    soft: Literal["kl", "decoupled", "cross-model", "reverse", "js", "skew", "skew-reverse"] = "kl"
    """Form of the soft-label loss of outputs that a softmax makes probabilities: kl (Hinton et al. 2015), decoupled (DKD, needs
    hard labels), cross-model (CMKD: the temperature on the teacher's side only), or for decoders reverse, js, skew,
    skew-reverse (docs/concepts/distillation.md)."""
    target_weight: float = Field(default=1.0, ge=0)
    """decoupled: weight of the sample's own class."""
    others_weight: float = Field(default=8.0, ge=0)
    """decoupled: weight of the other classes."""
    mix: float | None = Field(default=None, gt=0, lt=1)
    """β of js (none: ½), α of skew and skew-reverse (none: 0.1)."""
    hidden_weight: float = Field(default=0.0, ge=0)
    """Weight of the mean squared error between the student's hidden states and those of the matching teacher layers; a learned
    projection where their widths differ."""
    relation_weight: float = Field(default=0.0, ge=0)
    """Weight of the relations of queries, keys and values (MiniLMv2): one layer of the teacher teaches the student's last."""
    relation_heads: int | None = Field(default=None, ge=1)
    """Number of relation heads; none: the largest divisor of both widths up to the teacher's attention heads."""
    relation_layer: int = -1
    """The teacher's layer for relations, counted from 0, or from the end if negative."""
    attention_weight: float = Field(default=0.0, ge=0)
    """Weight of the attention maps of the matching layers (models without rotary positions)."""
    features: list[FeaturePair] = Field(default_factory=list)
    """Pairs of modules whose feature maps [N, channels, height, width] are compared."""
    feature_weight: float = Field(default=0.0, ge=0)
    """Weight of the feature maps."""
    feature_kind: Literal["attention-transfer", "channelwise"] = "attention-transfer"
    """How feature maps are compared."""
    similarity_weight: float = Field(default=0.0, ge=0)
    """Weight of the similarities of all pairs of embeddings in a batch, beside their values."""
    sequence_weight: float = Field(default=0.0, ge=0)
    """Language models: weight of what the teacher writes behind the first tokens of each sample, learned token by token
    (sequence-level distillation, https://arxiv.org/abs/1606.07947)."""
    on_policy_weight: float = Field(default=0.0, ge=0)
    """Language models: weight of the divergence of both models on what the student itself writes there (GKD,
    https://arxiv.org/abs/2306.13649): reverse, or js, skew, skew-reverse where `soft` says so."""
    prompt_tokens: int = Field(default=16, ge=1)
    """sequence, on_policy: number of first tokens of a sample that are given."""
    written_tokens: int = Field(default=32, ge=1)
    """sequence, on_policy: number of tokens written behind them."""
    top_classes: int | None = Field(default=None, ge=1)
    """kl: keep only this many of the teacher's largest probabilities, and the mass of the rest; none: all."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.top_classes is not None and self.soft != "kl":
            raise ValueError(f"top_classes is a form of soft = kl; leave it out for soft = {self.soft}")
        return self
