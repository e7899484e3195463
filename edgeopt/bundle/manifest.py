"""What a project takes from a bundle's bundle.json: values of known types, since parts of them become code.

The hashes of a bundle say that it is whole, not that its maker is honest: names, versions and raw inputs stand in generated
programs and in the lists of packages that `make setup` installs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from edgeopt.bundle.verify import device_verify
from edgeopt.data.preprocessing import Preprocessing, read_preprocessing
from edgeopt.documents import read_json
from edgeopt.errors import ModelError, RecipeError
from edgeopt.tasks.decoding import read_decoding

VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}")


class _RawInput(BaseModel):
    """One raw input: the path of a file in the bundle, a text, or two."""

    model_config = ConfigDict(frozen=True)

    file: StrictStr | None = None
    text: StrictStr | tuple[StrictStr, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Return the texts, or the path of the file with BUNDLE for the bundle's folder."""
        if self.file is not None:
            return (f"BUNDLE/{self.file}",)
        return (self.text,) if isinstance(self.text, str) else self.text


class _RawSample(BaseModel):
    model_config = ConfigDict(frozen=True)

    input: _RawInput


class _Golden(BaseModel):
    model_config = ConfigDict(frozen=True)

    raw: tuple[_RawSample, ...] = ()


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)

    minimum_onnxruntime: StrictStr | None = Field(default=None, pattern=f"^{VERSION.pattern}$")


class _Tensor(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: StrictStr
    dtype: StrictStr


class Manifest(BaseModel):
    """The checked values of a bundle.json."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    schema_version: Literal[2]
    name: StrictStr = Field(max_length=200)
    task: StrictStr = Field(max_length=200)
    kind: StrictStr = Field(default="", max_length=200)
    """ "llm": a language model or an encoder-decoder, in its own layout."""
    model: _Model
    golden: _Golden
    preprocessing: Preprocessing
    decoding: str
    """Its kind."""
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]

    @property
    def first_raw(self) -> tuple[str, ...]:
        """Return the first raw input, as arguments of a program; () if there is none."""
        return self.golden.raw[0].input.words if self.golden.raw else ()


def read_manifest(bundle: Path) -> Manifest:
    """Return what the bundle.json in the folder `bundle` says, each value checked for its type.

    Raises:
        ModelError: a value is missing or of another kind.
    """
    values = read_json(bundle / "bundle.json", error=ModelError, what="a bundle's manifest")
    if isinstance(values, dict) and values.get("schema_version") == 1:
        raise ModelError(f"{bundle}: a bundle of schema version 1 carries no decoding; write it again with edgeopt bundle")
    try:
        where = f"{bundle}/bundle.json"
        decoding = read_decoding(_object(values, "decoding", where), where=where).kind
        steps = read_preprocessing(_object(values, "preprocessing", where), where=where)
        found = Manifest.model_validate({**values, "preprocessing": steps, "decoding": decoding})
    except RecipeError as error:
        raise ModelError(str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(f"{bundle}/bundle.json: '{place}': {first['msg']}; write the bundle again") from error
    files = [word.removeprefix("BUNDLE/") for sample in found.golden.raw for word in sample.input.words if sample.input.file]
    steps_file = getattr(steps, "file", None)
    for name in [*files, *([] if steps_file is None else [steps_file])]:
        if reason := device_verify().unsafe(name):
            raise ModelError(f"{bundle}/bundle.json: the file '{name[:80]}' {reason}; refused")
    return found


def _object(values: Any, key: str, where: str) -> Mapping[str, Any]:
    value = values.get(key) if isinstance(values, dict) else None
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: '{key}' is no object; write the bundle again")
    return value
