"""How far PyTorch's own float32 is from float64: a model that amplifies rounding has no more exact answer to compare with.

Two implementations round differently at every step, and some models magnify that: in a language model with massive activations
(Sun et al., https://arxiv.org/abs/2402.17762) one position in dozens turns last bits into the fourth digit of a logit. Where an
export differs by more than its tolerance, the model is run in float64, too, and may differ by `COARSER` times what PyTorch's
float32 is off: onnxruntime's exp, sigmoid and fused kernels round that much coarser (docs/log/export.md). An error above
`_MOST` is none of rounding: a model whose answer flips with the last bit (a threshold, a top-k) would let every export pass.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeopt.batches import Batch
from edgeopt.export.parity import compare
from edgeopt.export.precision import TOLERANCES, float_type
from edgeopt.export.program import Program
from edgeopt.export.result import Parity

COARSER = 20.0
_MOST = TOLERANCES["float16"]
_MOST_WEIGHTS = 1_000_000_000
"""A copy in float64 of more would not fit beside the model."""


def allow_for_rounding(parity: Parity, program: Program, batches: Sequence[Batch]) -> Parity:
    """Return a failed comparison of a float32 model judged by its own rounding error, where that allows more."""
    weights = sum(weight.numel() for weight in program.module.parameters())
    if parity.passed or float_type(program.module) != "float32" or weights > _MOST_WEIGHTS:
        return parity
    tolerance = max(parity.tolerance, min(_MOST, COARSER * rounding_error(program, batches)))
    return replace(parity, tolerance=tolerance, passed=parity.relative_error <= tolerance)


def rounding_error(program: Program, batches: Sequence[Batch]) -> float:
    """Return the largest relative error of PyTorch's outputs in float32 against float64; 0 where float64 does not run."""
    single = [program.run(batch) for batch in batches]
    module = program.module
    try:
        program.module = copy.deepcopy(module).double()
        double = [program.run({name: _wide(array) for name, array in batch.items()}) for batch in batches]
    except Exception:  # noqa: BLE001  (the model's code asks for float32 in its own way, such as by an assertion)
        return 0.0
    finally:
        program.module = module
    pairs = [(exact[name], have[name]) for have, exact in zip(single, double, strict=True) for name in have]
    return max((compare(exact, array).relative for exact, array in pairs if array.dtype == np.float32), default=0.0)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def remark(parity: Parity, asked: float) -> tuple[str, ...]:
    """Return what the report says of a tolerance above the one that was asked for."""
    if parity.tolerance <= asked:
        return ()
    off = f"PyTorch's float32 is at least {parity.tolerance / COARSER:.1e} off float64"
    return (f"the model amplifies rounding: {off}, so an error of {parity.relative_error:.1e} is allowed, above {asked:.0e}",)
