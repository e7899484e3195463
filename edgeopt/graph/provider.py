"""The execution provider that runs a model, with its options."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from edgeopt.config import Options, ThreadCount


class Plugin(Options):
    """A provider that is a separate library, found through a Python module."""

    module: str
    """Python module to import; it has `get_library_path()`."""
    name: str
    """Name to register the provider by; a name that ends in ``.virtual`` creates a device without hardware."""


class Provider(Options):
    """The onnxruntime execution provider that runs the model."""

    name: str = "CPUExecutionProvider"
    """onnxruntime's name of the provider."""
    options: dict[str, str] = Field(default_factory=dict)
    """Provider options of onnxruntime; ``"call:NAME"`` stands for the return value of the plug-in's function NAME."""
    plugin: Plugin | None = None
    """Plug-in with the provider, if it is not built into onnxruntime."""
    computes_in_float: bool = False
    """It computes what is between Q/DQ pairs in floating point: they save size, not time."""
    threads: ThreadCount = 1
    """Threads within an operator (`intra_op_num_threads`)."""

    def session(self) -> dict[str, Any]:
        """Return the entry `session` of the runner's requests."""
        values: dict[str, Any] = {"provider": self.name, "options": self.options, "threads": self.threads}
        return {**values, "plugin": self.plugin.model_dump()} if self.plugin else values
