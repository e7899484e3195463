"""Optional dependencies: which extra brings a package, and the one line that installs it.

The core of edgeopt quantizes, profiles, bundles and verifies ONNX files. Everything else comes with extras, such as
``pip install 'edgeopt[torch]'``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from edgeopt.errors import MachineError

EXTRAS: Mapping[str, str] = {
    "torch": "torch",
    "transformers": "torch",
    "accelerate": "torch",
    "torch_pruning": "torch",
    "onnxscript": "torch",
    "peft": "torch",
    "tensorboard": "trackers",
    "tokenizers": "text",
    "PIL": "images",
    "jinja2": "report",
    "llguidance": "generate",
    "fastapi": "serve",
    "python_multipart": "serve",
    "uvicorn": "serve",
    "onnxruntime_genai": "genai",
    "plotly": "report",
    "sklearn": "quickstart",
    "datasets": "datasets",
    "jiwer": "metrics",
    "pycocotools": "metrics",
    "sacrebleu": "metrics",
    "scipy": "metrics",
    "optuna": "search",
    "ray": "ray",
    "sqlalchemy": "search",
    "cryptography": "deploy",
    "zstandard": "deploy",
}
"""Module → the extra that brings it."""


def need(module: str, *, purpose: str) -> None:
    """Check that `module` is installed; `purpose` begins the message, such as "reading texts".

    Raises:
        MachineError: it is not; the message has the line that installs it.
    """
    try:
        found = find_spec(module) is not None
    except ValueError:  # the module is marked as absent
        found = False
    if not found:
        raise MachineError(_advice(module, purpose))


def missing_extra(error: ModuleNotFoundError) -> MachineError | None:
    """Return the error that says how to install what could not be imported; None if no extra brings it."""
    module = (error.name or "").partition(".")[0]
    return MachineError(_advice(module, "this")) if module in EXTRAS else None


def _advice(module: str, purpose: str) -> str:
    return f"{purpose} needs the package {module}, which is not installed; run: pip install 'edgeopt[{EXTRAS[module]}]'"
