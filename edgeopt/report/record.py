"""Record of a run for the report: plain values, so that a run can be reported again later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from edgeopt.errors import DataError
from edgeopt.hashed_files import SEAL, check_seal, json_hash, sealed_json


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run."""

    stage: str
    """Such as ``quantize``."""
    key: str
    """The artifact's content address."""
    status: Literal["made", "cached"]
    seconds: float
    """Seconds that the stage took, in this or an earlier run."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The stage's own facts, as JSON."""
    warnings: tuple[str, ...] = ()
    """Warnings of the pipeline, in addition to the stage's own warnings in its facts."""


@dataclass(frozen=True)
class RunRecord:
    """A finished run."""

    name: str
    """The recipe's name."""
    recipe: Mapping[str, Any]
    """The resolved recipe, as JSON."""
    target: str
    stages: tuple[StageRecord, ...]
    """In the order they ran."""
    versions: Mapping[str, str] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the record as JSON text, with its hash."""
        values = sealed_json(json.loads(json.dumps(asdict(self))))
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = "run record") -> RunRecord:
        """Return the record that `to_json` wrote; unknown keys are ignored.

        Raises:
            DataError: it is not JSON or not a run record; the message names `where` and the key.
            IntegrityError: it does not have its recorded hash.
        """
        try:
            record = TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the whole"
            raise DataError(f"{where}: not a run record: {key}: {first['msg']}; run the recipe again") from error
        values = json.loads(text)
        check_seal(where, values.get(SEAL), json_hash(values), advice="run the recipe again")
        return record
