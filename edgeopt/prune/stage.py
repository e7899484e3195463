"""The stage `prune`: remove what matters least, then train the model against its teacher to recover."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.call import cannot_take
from edgeopt.models.kept import compose
from edgeopt.models.load import LoadedModel, Origin
from edgeopt.models.reshape import Shape, followed
from edgeopt.models.reshaped import BUILDER as RESHAPED
from edgeopt.models.reshaped import arguments_of, shape_of, whole_config
from edgeopt.models.save import check_saved, copy_tokenizer, save_model
from edgeopt.models.size import measure, parameters
from edgeopt.prune.channel_budget import prune_channels_to
from edgeopt.prune.channel_parts import SCORED_BY_PARTS, prune_channel_parts
from edgeopt.prune.channels import PrunedChannels, prune_channels
from edgeopt.prune.choice import CostsOf, Setting
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.losses import loss_for
from edgeopt.prune.recovery import recover
from edgeopt.prune.result import Allocation, LayerZeros, PruneFacts, PruneResult, joined
from edgeopt.prune.sparse.layerwise import sparsify
from edgeopt.prune.sparse.pattern import read_pattern
from edgeopt.prune.sparse.zeros import kept_zeros
from edgeopt.prune.structure.heads import heads
from edgeopt.prune.structure.neurons import neurons
from edgeopt.prune.structure.uniform import uniform_config
from edgeopt.prune.surgery import same_outputs
from edgeopt.prune.transformer import prune_transformer
from edgeopt.prune.vocabulary.rows import smaller_config
from edgeopt.prune.vocabulary.trim import Reread, Vocabulary, trim, vocabulary_of
from edgeopt.tasks.registry import task_for
from edgeopt.train.loop import Session

_TAYLOR_SAMPLES = 64
STEP = 8
"""Counts of channels and neurons are multiples of this where neither the options nor the target say it."""


@dataclass(frozen=True)
class PruneSession(Session):
    """A session that knows the target.

    Attributes:
        costs_of: latency of the parts of a transformer on the target; a latency budget needs it.
        latency_of: latency in ms of any model on the target; a latency budget of other networks needs it.
        step: counts of channels and neurons that the target computes fastest are multiples of this.
        seconds: time for the recovery; None: what its options say.
        reread: reads the training texts through the tokenizer in another folder; a trimmed vocabulary needs it.
    """

    costs_of: CostsOf | None = None
    latency_of: Callable[[nn.Module], float] | None = None
    step: int | None = None
    seconds: float | None = None
    reread: Reread | None = None


_DEFAULTS = PruneSession()


def prune(
    model: LoadedModel,
    teacher: LoadedModel,
    samples: Samples,
    *,
    output: Path,
    options: PruneOptions,
    session: Session = _DEFAULTS,
) -> PruneResult:
    """Remove parts of `model`, in place, let it recover, and write it to the folder `output`.

    Args:
        model: pruned and trained.
        teacher: the recovery's teacher; may be another copy of the model itself.
        samples: the training split.
        output: a transformers folder where the result is uniform; else model.json (builder, kept indices) + model.safetensors.
        options: how much is removed, and how the model recovers.
        session: the recovery's seed, and where to resume it from; a `PruneSession` knows the target, too.

    Raises:
        ModelError: the model cannot be pruned, or not that far, or its folder does not load.
    """
    torch.manual_seed(session.seed)
    known = session if isinstance(session, PruneSession) else PruneSession(**vars(session))
    if not options.vocabulary:  # (which reads the texts again)
        samples = task_for(samples, model.purpose).with_answers(samples, model.module)
    one = samples.collate([0])
    try:
        before = measure(model.module, one)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise cannot_take(error, one, "model") from error
    changed = _Changed(model)
    found = vocabulary_of(model.module, model.folder, samples, known.reread) if options.vocabulary else None
    if found is not None:
        teacher = replace(teacher, module=copy.deepcopy(teacher.module))
        trim(teacher.module, found, samples)
        changed.trim(found, samples)
        samples = found.samples(samples)
        one = samples.collate([0])
    facts = _in_rounds(model, teacher.module, changed, samples, options, known)
    origin = changed.origin(one)
    save_model(model.module, output, origin=origin)
    copy_tokenizer(model.folder, output)
    if found is not None and model.folder is not None:
        found.write(model.folder, output)
    check_saved(model.module, output, origin, samples.collate(range(min(2, len(samples)))))
    done = replace(facts, before=before, after=measure(model.module, one), uniform=origin is None)
    if found is not None:
        done = replace(done, tokens=(found.whole, len(found.kept)))
    return PruneResult(**vars(done), path=output)


def _in_rounds(  # noqa: PLR0917
    model: LoadedModel,
    teacher: nn.Module,
    changed: _Changed,
    samples: Samples,
    options: PruneOptions,
    session: PruneSession,
) -> PruneFacts:
    """Prune and recover as many times as the options say; return what went in all rounds together."""
    done: PruneFacts | None = None
    seconds = None if session.seconds is None else session.seconds / options.rounds
    for number in range(options.rounds):
        own, known = options.in_round(number), session
        if options.rounds > 1 and session.checkpoint is not None:
            known = replace(session, checkpoint=session.checkpoint / f"round-{number}", key=f"{session.key} round {number}")
        facts = _cut(model, changed, samples, own, session)
        zeros = _zeros(model.module, samples, own, session.seed) if number == options.rounds - 1 else ()
        with kept_zeros(model.module, [layer.name for layer in zeros]):
            history = recover(model.module, teacher, samples, own, known, seconds)
        facts = replace(facts, history=history, zeros=zeros)
        done = facts if done is None else joined(done, facts)
    assert done is not None  # (there is at least one round)
    return done


def _zeros(module: nn.Module, samples: Samples, options: PruneOptions, seed: int) -> tuple[LayerZeros, ...]:
    if options.sparsity is None:
        return ()
    if options.recovery == "lora":
        raise RecipeError("prune.sparsity: low-rank updates would fill the zeros again; set recovery to train, fit or none")
    calibration = limited(samples, options.calibration_samples, seed=seed)
    pattern = read_pattern(str(options.sparsity))
    return sparsify(module, calibration, pattern=pattern, method=options.sparsity_method, ignore=options.ignore)


class _Changed:
    """What the model was, and what it is by now."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.config: Any = copy.deepcopy(getattr(model.module, "config", None))
        self.kept_before = model.origin.kept if model.origin else {}
        self.shape = Shape()
        if model.origin is not None and model.origin.builder == RESHAPED:
            self.config = whole_config(model.origin.arguments)
            self.shape = shape_of(model.origin.arguments, model.origin.kept)

    def trim(self, found: Vocabulary, samples: Samples) -> None:
        """Trim the model's vocabulary, and the one of the configuration that it is rebuilt from."""
        rebuilt = self.model.origin is not None and self.model.origin.builder == RESHAPED
        trim(self.model.module, found, samples, whole=self.config if rebuilt else None)
        self.config = smaller_config(self.config, found.kept)

    def take(self, shape: Shape) -> None:
        """Note that the model was given another shape."""
        self.shape = followed(self.shape, shape)

    def origin(self, sample: Batch) -> Origin | None:
        """Return how the model is rebuilt; None if its own configuration can say it, with the same outputs on `sample`."""
        model = self.model
        if model.origin is not None and model.origin.builder != RESHAPED:
            return replace(model.origin, kept=compose(self.kept_before, self.shape.kept))
        config = uniform_config(model.module, self.config, self.shape)
        if config is not None and same_outputs(model.module, config, sample):
            model.module.config = config
            return None
        arguments = arguments_of(model.module, self.config, self.shape)
        return Origin(RESHAPED, arguments, self.shape.kept, model.task, model.labels)


def _cut(model: LoadedModel, changed: _Changed, samples: Samples, options: PruneOptions, session: PruneSession) -> PruneFacts:
    module = model.module
    nothing = measure(module, samples.collate([0]))
    if options.without_budget and not options.drop_layers and options.hidden is None:
        return PruneFacts(nothing, nothing, (), (), {})
    if is_transformer(module) or options.rules:
        step = options.round_to or session.step or STEP
        setting = Setting(session.costs_of, step, session.seed)
        done = prune_transformer(module, samples, options=options, setting=setting)
        changed.take(done.shape)
        spared = dict.fromkeys(done.whole_parts, "no rule says what it is part of")
        return PruneFacts(nothing, nothing, done.layers, (), spared, done.allocation, done.dropped)
    if options.importance in SCORED_BY_PARTS:
        return _cut_parts(module, changed, samples, options, session)
    if options.importance == "auto" and options.latency is not None and session.costs_of is not None:
        by_cost = options.model_copy(update={"importance": "obs"})
        try:
            return _cut_parts(module, changed, samples, by_cost, session)
        except ModelError as error:
            progress.note(f"channels are ranked by magnitude, since they cannot be chosen by what they cost: {error}")
    loss = partial(_loss, samples=limited(samples, _TAYLOR_SAMPLES)) if samples.labels is not None else None
    plain = options.model_copy(update={"round_to": options.round_to or session.step or STEP})
    pruned, allocation = _cut_channels(module, samples.collate(range(min(2, len(samples)))), plain, loss, session)
    changed.take(Shape(kept=pruned.kept))
    return PruneFacts(nothing, nothing, pruned.layers, (), pruned.spared, allocation)


def _cut_parts(
    module: nn.Module, changed: _Changed, samples: Samples, options: PruneOptions, session: PruneSession
) -> PruneFacts:
    """Remove channels as parts: ranked by the layers that read them, chosen by what they cost."""
    _check_no_transformer_options(options)
    nothing = measure(module, samples.collate([0]))
    setting = Setting(session.costs_of, options.round_to or session.step or STEP, session.seed)
    done = prune_channel_parts(module, samples, options=options, setting=setting, latency_of=session.latency_of)
    changed.take(done.shape)
    return PruneFacts(nothing, nothing, done.layers, (), done.spared, done.allocation)


def _check_no_transformer_options(options: PruneOptions) -> None:
    for name in ("drop_layers", "hidden", "units"):
        if getattr(options, name):
            raise RecipeError(f"prune.{name} is for transformers, and this model has no attention or feed-forward network")


def _cut_channels(
    module: nn.Module,
    sample: Batch,
    options: PruneOptions,
    loss: Callable[[nn.Module], Tensor] | None,
    session: PruneSession,
) -> tuple[PrunedChannels, Allocation | None]:
    _check_no_transformer_options(options)
    if options.latency is None and options.parameters is None:
        return prune_channels(module, sample, options=options, loss=loss), None
    if options.parameters is not None:
        return prune_channels_to(module, sample, options=options, loss=loss, cost=parameters, unit="parameters")
    if session.latency_of is None:
        raise RecipeError("a latency budget needs a target that it is measured on; give --target")
    return prune_channels_to(module, sample, options=options, loss=loss, cost=session.latency_of, unit="ms")


def is_transformer(module: nn.Module) -> bool:
    """Return whether `module` has attentions or feed-forward networks whose layers have known names."""
    return hasattr(module, "config") and bool(heads(module) or neurons(module))


def _loss(model: nn.Module, samples: Samples) -> Tensor:
    if samples.labels is None:
        raise ModelError("the loss needs labels")
    indices = range(len(samples))
    return loss_for(samples)(model, samples.collate(indices), indices)
