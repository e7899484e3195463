"""Scales of 4-bit weights, all trained at once towards the next-token probabilities of the floating-point model.

    w̃ = s · (n - z)        loss = mean over positions of Σ p · (log p - log q),  p of the exact model, q of the rounded one

Integers n and zero points z stay as they are; scales s, and the weights of the norms between the products, move by Adam (the
second part of EfficientQAT, Chen et al., https://arxiv.org/abs/2407.11062, section 3.3; norms as in norm tweaking, Li et al.,
https://arxiv.org/abs/2309.02784). Both are stored as a share r of what they were, 1 at the start, so that one learning rate
fits all. No labels are needed. Windows held aside say which state is kept.

The whole decoder is in PyTorch, with the logits of a batch: 5.5 GB for 135 million parameters and a vocabulary of 49,152.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph.generation import Generation
from edgeopt.graph.matching import name_of
from edgeopt.quantize.language.blocks import Blocked
from edgeopt.quantize.language.config import LanguageTrainingOptions
from edgeopt.quantize.language.layers import Rounded, norm_weights
from edgeopt.quantize.language.text import Tokens
from edgeopt.quantize.language.torch_decoder import Constants, half_precision, inputs_of, shuffled, stacked, state_of
from edgeopt.quantize.training.checkpoint import Checkpoint, Phase, PhaseProgress, State, key_of
from edgeopt.quantize.training.graph_module import refuse_unknown
from edgeopt.quantize.training.objective import divergence
from edgeopt.quantize.training.operators import operator_of, tensor_of
from edgeopt.quantize.training.rates import warmed
from edgeopt.quantize.training.steps import advance, steps_of

_HELD_SHARE, _MOST_HELD = 16, 8
_FEWEST_STEPS, _LOOKS, _WARM_UP = 8, 5, 5
_BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class TrainedScales:
    """What the training changed.

    Attributes:
        blocks: of all matrices, by the names of their nodes.
        norms: weights of the norms, by the names of their tensors.
        before: divergence on the windows held aside, nats per token.
        after: the same with the state that was kept.
        steps: that were made.
    """

    blocks: dict[str, Blocked]
    norms: dict[str, NDArray[Any]]
    before: float
    after: float
    steps: int


class _Product(torch.autograd.Function):
    """s · (n - z) of blocks [rows, block]; only the scales [rows] have a gradient."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, scales: Tensor) -> Tensor:
        ctx.save_for_backward(numbers)
        return numbers * scales[:, None]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        (numbers,) = ctx.saved_tensors
        return None, (gradients[0].float() * numbers).sum(1)


class _Matrix(nn.Module):
    """A matrix of fixed integers, [outputs · blocks, block], whose scales are trained."""

    def __init__(self, start: Rounded) -> None:
        super().__init__()
        self.layer, self._start = start.layer, start.blocks
        outputs, count, block = start.blocks.numbers.shape
        numbers = start.blocks.numbers.astype(np.int8) - start.blocks.zeros.astype(np.int8)[..., None]
        self._numbers = torch.from_numpy(numbers.reshape(-1, block))
        self._scales = torch.from_numpy(start.blocks.scales.astype(np.float32).reshape(-1))
        self._shape, self._kind = (outputs, count * block), tensor_of(start.layer.source).dtype
        self.ratio = nn.Parameter(torch.ones_like(self._scales))

    def values(self) -> dict[ir.Value, Tensor]:
        """Return the rounded weights by the constants that they stand for; a tied head may stand for two."""
        product: Tensor = _Product.apply(self._numbers, self._scales * self.ratio)  # type: ignore[no-untyped-call]
        whole = product.view(self._shape)[:, : self._start.inputs].to(self._kind)
        source, read = self.layer.source, self.layer.node.inputs[1]
        found = {source: whole if self.layer.turned else whole.t()}
        return found if read is None else {read: whole.t(), **found}

    def blocks(self) -> Blocked:
        """Return the integers with the scales as they are now."""
        scales = (self._scales * self.ratio).detach().numpy().reshape(self._start.scales.shape)
        return replace(self._start, scales=scales.astype(self._start.scales.dtype))


class _Decoder(nn.Module):
    """A decoder whose matrices are rounded, and the same in floating point."""

    def __init__(self, model: ir.Model, facts: Generation, rounded: Sequence[Rounded]) -> None:
        super().__init__()
        self._model, self._facts = model, facts
        self._logits = next(value for value in model.graph.outputs if value.name == "logits")
        self._steps = steps_of(list(model.graph), (self._logits,), operator_of)
        self._constants = Constants()
        self.matrices = nn.ModuleList([_Matrix(one) for one in rounded])
        self._norm_weights = norm_weights(model)
        self.norms = nn.ParameterList([nn.Parameter(torch.ones(tensor_of(value).shape)) for value in self._norm_weights])

    def exact(self, windows: Tokens) -> Tensor:
        """Return the logits [windows, positions, vocabulary] of the floating-point model."""
        return self._run(windows, {})

    def forward(self, windows: Tokens) -> Tensor:
        """Return those of the rounded one."""
        changed = self._norms()
        for one in self._each():
            changed |= one.values()
        return self._run(windows, changed)

    def _run(self, windows: Tokens, changed: Mapping[ir.Value, Tensor]) -> Tensor:
        inputs = inputs_of(self._model, self._facts, windows)
        return advance({**inputs, **changed}, self._steps, self._constants)[self._logits]

    def _each(self) -> Iterator[_Matrix]:
        yield from (one for one in self.matrices if isinstance(one, _Matrix))

    def _norms(self) -> dict[ir.Value, Tensor]:
        weights = ((value, tensor_of(value), ratio) for value, ratio in zip(self._norm_weights, self.norms, strict=True))
        return {value: (weight * ratio).to(weight.dtype) for value, weight, ratio in weights}

    def made(self) -> tuple[dict[str, Blocked], dict[str, NDArray[Any]]]:
        """Return the matrices by their nodes' names, and the weights of the norms by their own."""
        norms = {name_of(value): norm.detach().numpy() for value, norm in self._norms().items()}
        return {one.layer.name: one.blocks() for one in self._each()}, norms


def train_scales(
    model: ir.Model,
    rounded: Sequence[Rounded],
    facts: Generation,
    windows: Sequence[Tokens],
    *,
    options: LanguageTrainingOptions,
) -> TrainedScales:
    """Train the scales of all matrices, and the norms, at once.

    Args:
        model: the decoder in floating point; not changed.
        rounded: the matrices.
        facts: of the decoder.
        windows: of text.
        options: how long, and how.

    Raises:
        ModelError: an operator has no form in PyTorch, or the loss is not finite.
        RecipeError: there are too few windows, or the time is too short.
    """
    refuse_unknown(model)
    batches = stacked(windows, options.batch_size)
    decoder = _Decoder(model, facts, rounded)
    most = max(1, _MOST_HELD // options.batch_size)
    held = batches[::_HELD_SHARE][:most]
    others = [batch for place, batch in enumerate(batches) if place % _HELD_SHARE or place // _HELD_SHARE >= most]
    checkpoint = Checkpoint(options.checkpoint, key_of(state_of(rounded), [{"windows": batch} for batch in batches], options))
    return _Training(decoder, options, checkpoint).run(others, held)


class _Training:
    """Steps of Adam until the time or the steps are over; the decoder is left in its best state on the windows held aside."""

    def __init__(self, decoder: _Decoder, options: LanguageTrainingOptions, checkpoint: Checkpoint) -> None:
        self._decoder, self._options, self._checkpoint = decoder, options, checkpoint
        groups = [{"params": list(decoder.parameters()), "highest": options.whole_learning_rate}]
        self._optimizer = torch.optim.Adam(groups, betas=_BETAS)
        self._done, self._kept = PhaseProgress(Phase.WHOLE), _copied(decoder)

    def run(self, batches: Sequence[Tokens], held: Sequence[Tokens]) -> TrainedScales:
        """Return what was trained on the batches, and what it gained on those held aside.

        Raises:
            ModelError: the loss is not finite.
            RecipeError: the time is too short for a few steps.
        """
        loaded = self._checkpoint.load()
        if loaded is None:
            self._done.start = self._done.best = self._look(held)
        else:
            self._done, self._kept, now = loaded
            self._decoder.load_state_dict(now)
        self._train(batches, held)
        self._decoder.load_state_dict(self._kept)
        return TrainedScales(*self._decoder.made(), self._done.start, self._done.best, self._done.steps)

    def _over(self) -> bool:
        return self._share() >= 1

    def _share(self) -> float:
        """Return how much of the training is done."""
        steps = self._options.whole_steps
        return self._done.steps / steps if steps is not None else self._done.seconds / self._options.time

    def _train(self, batches: Sequence[Tokens], held: Sequence[Tokens]) -> None:
        done, began = self._done, time.monotonic() - self._done.seconds
        looked, order = int(self._share() * _LOOKS), itertools.islice(shuffled(len(batches)), done.steps, None)
        with progress.task("train all scales", total=100) as advanced:
            while not self._over():
                share = self._share()
                warmed(self._optimizer, share, done.steps, warm_up=_WARM_UP)
                loss = self._step(batches[next(order)])
                done.steps, done.seconds = done.steps + 1, time.monotonic() - began
                if done.steps == 1 and self._share() * _FEWEST_STEPS > 1 and self._options.whole_steps is None:
                    raise _too_short(self._options.time, done.seconds)
                advanced(int(100 * min(self._share(), 1)) - int(100 * share))
                if self._share() * _LOOKS >= looked + 1 or self._over():
                    looked = int(self._share() * _LOOKS)
                    found = self._look(held)
                    progress.note(f"step {done.steps}: KL {loss:.4f}; of windows held aside {found:.4f}")
                    if found < done.best:
                        done.best, self._kept = found, _copied(self._decoder)
                self._checkpoint.save(done, self._kept, self._decoder.state_dict())

    def _step(self, batch: Tokens) -> float:
        self._optimizer.zero_grad()
        with half_precision():
            loss = _divergence(self._decoder.exact(batch), self._decoder(batch))
        if not torch.isfinite(loss):
            raise ModelError("--train: the divergence is not finite; learn more slowly: --set train.whole_learning_rate=0.001")
        torch.autograd.backward(loss)
        self._optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def _look(self, held: Sequence[Tokens]) -> float:
        with half_precision():
            return float(np.mean([float(_divergence(self._decoder.exact(batch), self._decoder(batch))) for batch in held]))


def _divergence(exact: Tensor, made: Tensor) -> Tensor:
    """Return the mean over windows and positions of Σ p·(log p - log q), in nats."""
    return divergence(made.float().flatten(0, 1), exact.float().flatten(0, 1))


def _copied(decoder: _Decoder) -> State:
    return {name: value.detach().clone() for name, value in decoder.state_dict().items()}


def _too_short(whole: float, step_s: float) -> RecipeError:
    return RecipeError(
        f"--train: {whole:.0f} s are left for all scales at once, and a step takes {step_s:.1f} s here; give more "
        "time, or train layers alone (--set train.whole_share=0)"
    )
