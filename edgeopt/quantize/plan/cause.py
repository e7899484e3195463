"""Why a node runs as it does: an enum for programs, a sentence for people.

Programs compare the enum. The sentence is made here, from the cause and its detail, and nowhere read again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Cause(StrEnum):
    """Why a node runs on integers, in a 16-bit float, or stays in floating point."""

    # exceptions: the user or a search chose this node
    EXCLUDED = "excluded"
    EDITED = "edited"
    ACCURACY = "accuracy"
    COLLAPSE = "collapse"
    SLOWER = "slower"
    BALANCE = "balance"
    # floating by the rules of the target
    TWO_ACTIVATIONS = "two-activations"
    NO_ACTIVATION = "no-activation"
    WEIGHT_AXES = "weight-axes"
    GEMM_FORM = "gemm-form"
    BIAS_FORM = "bias-form"
    INFINITE = "infinite"
    UNSEEN = "unseen"
    BIAS_SIZE = "bias-size"
    NOT_WORTH = "not-worth"
    FED_FLOATS = "fed-floats"
    READ_BY_FLOATS = "read-by-floats"
    NO_KERNEL = "no-kernel"
    NOT_STANDARD = "not-standard"
    NOT_TAKEN = "not-taken"
    NO_FLOATS = "no-floats"
    NO_RESIDUAL = "no-residual"
    # on integers
    WEIGHTS = "weights"
    BETWEEN = "between"
    TAKEN = "taken"
    RESIDUAL = "residual"
    INPUTS = "inputs"
    # schemes without calibrated activations
    AT_RUN_TIME = "at-run-time"
    WEIGHTS_ALONE = "weights-alone"
    NO_MATRIX = "no-matrix"
    NO_LARGE_MATRIX = "no-large-matrix"
    SMALL = "small"
    SCALED_GEMM = "scaled-gemm"
    STORED = "stored"
    FITS = "fits"
    BLOCKED = "blocked"
    OVERFLOW = "overflow"
    UNDERFLOW = "underflow"
    ROUNDED_UP = "rounded-up"
    SUBGRAPH = "subgraph"
    SEQUENCE = "sequence"
    NO_SCHEMA = "no-schema"
    TYPE_REFUSED = "type-refused"
    MAKES_FLOATS = "makes-floats"
    # only in plans of earlier versions
    STEM = "stem"
    SUM = "sum"
    SAID = "said"


class Why(NamedTuple):
    """A cause and what it is about: an operator, a number of axes, a tensor; "" where the cause says it all."""

    cause: Cause
    detail: str = ""


CHANGED = frozenset(
    {Cause.WEIGHTS, Cause.BETWEEN, Cause.TAKEN, Cause.RESIDUAL, Cause.INPUTS}
    | {Cause.AT_RUN_TIME, Cause.WEIGHTS_ALONE, Cause.STORED, Cause.FITS}
)
"""Causes by which a node changes its form; beside a node in floating point they show that the plan was edited by hand."""

_SENTENCES = {
    Cause.EXCLUDED: "excluded",
    Cause.EDITED: "left in floating point in the plan that was given",
    Cause.ACCURACY: "one of the layers that cost most of the metric (max_drop)",
    Cause.COLLAPSE: "one of the layers that make the outputs collapse (collapse_db)",
    Cause.SLOWER: "slower on integers on this target (prefer_faster)",
    Cause.BALANCE: "its integer form costs more accuracy than its time is worth, or more time (float_layers)",
    Cause.TWO_ACTIVATIONS: "both factors are activations: rounding them costs accuracy for little work",
    Cause.NO_ACTIVATION: "its input is not a floating-point activation",
    Cause.WEIGHT_AXES: "its weight has {} axes; integer kernels take 2",
    Cause.GEMM_FORM: "Gemm with alpha or transA has no integer kernel",
    Cause.BIAS_FORM: "its bias is not a constant vector",
    Cause.INFINITE: "'{}' holds values that stand for infinity, which no integer grid holds",
    Cause.UNSEEN: "no calibration sample has values for '{}'",
    Cause.BIAS_SIZE: "its bias leaves no room for its weights in sums of 32 bits",
    Cause.NOT_WORTH: "{} has no integer kernel worth its roundings",
    Cause.FED_FLOATS: "not all that it reads comes from integer nodes",
    Cause.READ_BY_FLOATS: "no integer node reads its output",
    Cause.NO_KERNEL: "no integer kernel",
    Cause.NOT_STANDARD: "{} is no standard operator",
    Cause.NOT_TAKEN: "the provider does not take {} as integers",
    Cause.NO_FLOATS: "it reads nothing that is floating point",
    Cause.NO_RESIDUAL: "no residual addition behind a convolution",
    Cause.WEIGHTS: "multiplies by constant weights",
    Cause.BETWEEN: "between integer nodes",
    Cause.TAKEN: "the provider takes it as integers; floats would fall back",
    Cause.RESIDUAL: "its residual branch is read as 8 bits",
    Cause.INPUTS: "its inputs are rounded; what follows is fused by the provider",
    Cause.AT_RUN_TIME: "activations are rounded at run time",
    Cause.WEIGHTS_ALONE: "its weights alone",
    Cause.NO_MATRIX: "its weight is not a matrix",
    Cause.NO_LARGE_MATRIX: "its weight is not a matrix, small, or scaled",
    Cause.SMALL: "its weight is small",
    Cause.SCALED_GEMM: "its alpha, beta or transA is not the usual one",
    Cause.STORED: "weights stored",
    Cause.FITS: "float16 holds all its values",
    Cause.BLOCKED: "{} is in half.block_ops",
    Cause.OVERFLOW: "{}, more than float16 can hold (65504)",
    Cause.UNDERFLOW: "'{}' holds numbers that float16 rounds away, and what follows would not be finite or far off",
    Cause.ROUNDED_UP: "'{}' holds a number that bfloat16 rounds to infinity",
    Cause.SUBGRAPH: "it has a subgraph, which stays as it is",
    Cause.SEQUENCE: "it reads or makes a sequence of tensors, which keep their type",
    Cause.NO_SCHEMA: "its operator has no schema in this operator set",
    Cause.TYPE_REFUSED: "{}",
    Cause.MAKES_FLOATS: "{} makes its own float32 values",
    Cause.STEM: "one of the first layers: integers gain little time there and cost the most accuracy",
    Cause.SUM: "a residual Add of linear bottlenecks: nothing bounds it, and every following block would inherit its error",
    Cause.SAID: "{}",
}


def sentence(why: Why) -> str:
    """Return the cause in words, for tables and reports."""
    return _SENTENCES[why.cause].replace("{}", why.detail)
