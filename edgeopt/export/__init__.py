"""Export from PyTorch to ONNX: named axes, equal outputs, the form of attention that a target runs best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.export.config import ExportConfig
    from edgeopt.export.optimum_folder import export_for_optimum
    from edgeopt.export.result import ExportResult, Parity
    from edgeopt.export.stage import export

__all__ = ["ExportConfig", "ExportResult", "Parity", "export", "export_for_optimum"]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "ExportConfig": "config",
            "ExportResult": "result",
            "Parity": "result",
            "export": "stage",
            "export_for_optimum": "optimum_folder",
        },
    )
