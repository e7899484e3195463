"""Options of the bundle stage."""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class BundleOptions(Options):
    """What goes into the bundle."""

    golden_samples: int = Field(default=8, ge=1)
    """Evaluation samples whose inputs and outputs are recorded, so that the bundle can verify itself."""
