"""What `edgeopt bundle` records of where a model comes from: hashes of model and data, licences."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.cli.output import say

if TYPE_CHECKING:
    from edgeopt.bundle.spec import Origin
    from edgeopt.data.manifest import Manifest

_UNSTATED = "not stated"


@dataclass(frozen=True)
class Licences:
    """Licences by what they are of, and files of their texts by path in the bundle."""

    names: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def origins_of(model: Path, data: str, manifest: Manifest) -> tuple[Origin, ...]:
    """Return the links of the chain that are known here: the data, the quantization plan beside the model, the model."""
    from edgeopt.bundle.spec import Origin
    from edgeopt.data.sets import content_hash
    from edgeopt.files import sha256

    place = _place(data)
    plan = model.with_suffix(".plan.json")
    return (
        Origin("data", manifest.name, content_hash(place) if place is not None else ""),
        *((Origin("plan", plan.name, sha256(plan)),) if plan.is_file() else ()),
        Origin("model", model.name, sha256(model)),
    )


def licences_of(model: Path, data: str, manifest: Manifest, *, model_licence: str, data_licence: str) -> Licences:
    """Return the licences that are given, or that the folders of model and data state; what was read is said on stderr."""
    from edgeopt.bundle.licence import licence_of

    found = Licences()
    stated = licence_of(model.resolve().parent)
    if stated is not None and stated.text is not None:
        found.files["LICENSE"] = stated.text
    if model_licence:
        found.names["model"] = model_licence
    elif stated is not None:
        found.names["model"] = stated.name
        say(f"licence of the model: {stated.name}, as {stated.stated_in.name} beside it says", err=True)
    found.names["data"] = data_licence or manifest.licence
    place = _place(data)
    if found.names["data"] == _UNSTATED and place is not None:
        beside = licence_of(place if place.is_dir() else place.resolve().parent)
        if beside is not None:
            found.names["data"] = beside.name
            say(f"licence of the data: {beside.name}, as {beside.stated_in.name} beside it says", err=True)
    return found


def _place(data: str) -> Path | None:
    """Return the file or folder that `data` names, or None for a set that comes with edgeopt or from an installed package."""
    place = Path(data.partition("?")[0])
    return place if place.exists() else None
