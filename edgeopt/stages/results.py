"""The result of each stage: one type per stage, written as JSON and read back as the same type.

A type here is the stage package's own. What comes out of JSON is checked strictly; a wrong or missing value is an error that
names stage and key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edgeopt.bundle.result import BundleResult
from edgeopt.distill.result import DistillFacts
from edgeopt.errors import DataError
from edgeopt.evaluate.result import VerifyFacts
from edgeopt.export.result import ExportFacts
from edgeopt.profile.result import GenerationFacts, ProfileResult
from edgeopt.prune.allocation.forecast import Forecast
from edgeopt.prune.result import PruneFacts
from edgeopt.quantize.result import QuantizeFacts
from edgeopt.stages.onnx_import import ImportFacts
from edgeopt.stages.teacher import TeacherFacts

StageFacts = (
    TeacherFacts
    | DistillFacts
    | PruneFacts
    | ExportFacts
    | ImportFacts
    | QuantizeFacts
    | VerifyFacts
    | ProfileResult
    | GenerationFacts
    | BundleResult
    | Forecast
)
_TYPES: Mapping[str, type[StageFacts]] = {
    "teacher": TeacherFacts,
    "distill": DistillFacts,
    "prune": PruneFacts,
    "export": ExportFacts,
    "import": ImportFacts,
    "quantize": QuantizeFacts,
    "verify": VerifyFacts,
    "profile": ProfileResult,
    "generation": GenerationFacts,
    "bundle": BundleResult,
    "forecast": Forecast,
}
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
}
"""pydantic's kind of error → what should stand there."""


def write_facts(stage: str, facts: StageFacts) -> dict[str, Any]:
    """Return the result of the stage called `stage` (such as ``export-teacher``) as JSON values."""
    values: dict[str, Any] = _adapter(_kind(stage)).dump_python(facts, mode="json")
    return values


def read_facts(stage: str, values: Mapping[str, Any]) -> StageFacts | None:
    """Return what `write_facts` made values of; None: edgeopt knows no such stage.

    Raises:
        DataError: a value is missing or of the wrong type; the message names stage and key.
    """
    if _kind(stage) not in _TYPES:
        return None
    text = json.dumps(_checked(stage, values, ()), allow_nan=False)
    try:
        return _adapter(_kind(stage)).validate_json(text, strict=True)
    except ValidationError as error:
        raise DataError(_explain(stage, error.errors()[0])) from error


def _kind(stage: str) -> str:
    return stage.split("-", maxsplit=1)[0]


@cache
def _adapter(kind: str) -> TypeAdapter[StageFacts]:
    return TypeAdapter(_TYPES[kind])


def _checked(stage: str, value: Any, place: tuple[str | int, ...]) -> Any:
    """Return `value` with text that every format can hold; a number that is not finite is an error."""
    if isinstance(value, Mapping):
        return {str(key): _checked(stage, item, (*place, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(stage, item, (*place, index)) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(_said(stage, place, f"is {value}; a finite number is expected"))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _explain(stage: str, error: Mapping[str, Any]) -> str:
    """Return the line about the first wrong value, such as "facts of profile.variants[0]: 'ms' is 'long'; …"."""
    if error["type"] == "missing":
        return _said(stage, error["loc"], "is missing, as in a run of another version of edgeopt; run the recipe again")
    expected = _EXPECTED.get(error["type"]) or str(error.get("ctx", {}).get("expected", "")).replace("'", "")
    said = f"{expected} is expected" if expected else error["msg"]
    return _said(stage, error["loc"], f"is {error['input']!r:.60}; {said}")


def _said(stage: str, place: Sequence[str | int], problem: str) -> str:
    names = [stage]
    for part in place or ("the whole",):
        if isinstance(part, int):
            names[-1] += f"[{part}]"
        else:
            names.append(part)
    return f"facts of {'.'.join(names[:-1]) or stage}: '{names[-1]}' {problem}"
