"""Prune channels to a budget that is not multiply-accumulates: find the share of those that meets it, by bisection.

Parameters are counted; latency is measured on the target, of the exported model. Neither follows the multiply-accumulates in a
straight line (kernels compute blocks of channels), but both fall with them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.errors import ModelError
from edgeopt.prune.channels import PrunedChannels, prune_channels
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.result import Allocation

_TRIES = 6
_LEAST = 0.05


def prune_channels_to(
    model: nn.Module,
    sample: Batch,
    *,
    options: PruneOptions,
    loss: Callable[[nn.Module], Tensor] | None,
    cost: Callable[[nn.Module], float],
    unit: str,
) -> tuple[PrunedChannels, Allocation]:
    """Prune `model` in place to the largest share of multiply-accumulates whose `cost` fits the budget.

    Raises:
        ModelError: no share that can be reached fits; the message has the best cost that was found.
    """
    whole = cost(model)
    budget = options.budget(whole)
    low, high = _LEAST, 1.0
    best: tuple[float, float] | None = None
    least = whole
    reached = False
    reason: ModelError | None = None
    with progress.task(f"budget in {unit}", total=_TRIES) as advance:
        for _ in range(_TRIES):
            share = (low + high) / 2
            try:
                found = _tried(model, sample, options, loss, cost, share)
            except ModelError as error:  # so much cannot be removed
                low, reason = share, error
                continue
            finally:
                advance()
            least, reached = min(least, found), True
            if found <= budget:
                low, best = share, (share, found)
            else:
                high = share
    if not reached and reason is not None:
        raise ModelError(f"{options.asked()} cannot be reached: {reason}") from reason
    if best is None:
        raise ModelError(
            f"{options.asked()} cannot be reached: the best that was found is {least:,.4g} {unit} of {whole:,.4g}, "
            f"{least / whole:.3f}x, {least - budget:,.4g} more than allowed; raise it, or prune.max_layer_share"
        )
    done = prune_channels(model, sample, options=options.model_copy(update={"macs": best[0]}), loss=loss)
    return done, Allocation(unit, whole, budget, best[1], judged=_TRIES)


def _tried(  # noqa: PLR0917
    model: nn.Module,
    sample: Batch,
    options: PruneOptions,
    loss: Callable[[nn.Module], Tensor] | None,
    cost: Callable[[nn.Module], float],
    share: float,
) -> float:
    """Return the cost of a copy of the model with this many multiply-accumulates.

    Raises:
        ModelError: it cannot be had.
    """
    tried = copy.deepcopy(model)
    prune_channels(tried, sample, options=options.model_copy(update={"macs": share}), loss=loss)
    return cost(tried)
