"""PyTorch to ONNX: named axes, exact outputs, the attention a target runs best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeopt.export.config import ExportConfig
    from edgeopt.export.result import ExportResult, Parity
    from edgeopt.export.stage import export

__all__ = ["ExportConfig", "ExportResult", "Parity", "export"]

_HOME = {
    "ExportConfig": "edgeopt.export.config",
    "ExportResult": "edgeopt.export.result",
    "Parity": "edgeopt.export.result",
    "export": "edgeopt.export.stage",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch takes seconds."""
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
