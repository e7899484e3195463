"""One random view of a sample."""

from __future__ import annotations

from dataclasses import dataclass

from edgeopt.data.samples import Sample


@dataclass(frozen=True)
class View:
    """One view: the sample, whether its hard label holds, what is mixed into it, and its own share."""

    sample: Sample
    labelled: bool = True
    partner: int | None = None
    share: float = 1.0
