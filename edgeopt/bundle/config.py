"""Options of the bundle stage."""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class BundleOptions(Options):
    """What goes into the bundle."""

    golden_samples: int = Field(default=8, ge=1)
    """Number of evaluation samples whose inputs and outputs are recorded, with which the bundle verifies itself."""
