"""The report as JSON for other programs, with a schema version; written and read."""

from __future__ import annotations

import json
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError

from edgeopt.errors import DataError
from edgeopt.report.model import SCHEMA_VERSION, Report


def to_json(report: Report) -> str:
    """Return `report` as JSON text, keys in the order of the report's fields."""
    return json.dumps(asdict(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str | bytes, *, where: str = "report.json") -> Report:
    """Return the report that `to_json` wrote; unknown keys are ignored.

    Raises:
        DataError: it is not JSON, not a report, or one of another schema version.
    """
    try:
        report = TypeAdapter(Report).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"{where}: not a report: {key}: {first['msg']}; write it again with `edgeopt report`") from error
    if report.schema_version != SCHEMA_VERSION:
        raise DataError(f"{where}: schema version {report.schema_version}; this edgeopt reads {SCHEMA_VERSION}")
    return report
