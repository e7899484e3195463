"""What each model of a run is for: the verdict and the report ask for roles, never for places in a list."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The part that a model plays in a run."""

    TEACHER = "teacher"
    STUDENT = "student"
    PRUNED = "pruned"
    BASELINE = "baseline"
    """The floating-point ONNX model that the quantized one is compared with."""
    QUANTIZED = "quantized"
    OTHER = "other"
    """Only stands beside, such as the export of an earlier step, or a model of a lone profile."""


_OF_NAME = {
    "teacher": Role.TEACHER,
    "distill": Role.STUDENT,
    "prune": Role.PRUNED,
    "fp32": Role.BASELINE,
    "int8": Role.QUANTIZED,
    "int4": Role.QUANTIZED,
}


def role_of(name: str) -> Role:
    """Return the role of the model that a run calls `name`."""
    return _OF_NAME.get(name, Role.OTHER)
