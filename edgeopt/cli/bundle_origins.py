"""What `edgeopt bundle` records of where a model comes from: hashes of model and data, licences."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.cli.output import say

if TYPE_CHECKING:
    from edgeopt.bundle.spec import Origin
    from edgeopt.data.manifest import Manifest


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
    from edgeopt.bundle.licence import UNSTATED, stated_beside

    stated = stated_beside(str(model), data)
    given = {"model": model_licence, "data": data_licence or manifest.licence}
    for of, found in (("model", stated.model), ("data", stated.data)):
        if found is not None and given[of] in ("", UNSTATED):
            say(f"licence of the {of}: {found.name}, as {found.stated_in.name} beside it says", err=True)
    return Licences(stated.names(model=given["model"], data=given["data"]), stated.files)


def _place(data: str) -> Path | None:
    """Return the file or folder that `data` names, or None for a set that comes with edgeopt or from an installed package."""
    place = Path(data.partition("?")[0])
    return place if place.exists() else None
