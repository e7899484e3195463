"""onnxruntime sessions, opened one way everywhere: fixed threads, quiet log, errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import onnx_ir as ir
import onnxruntime as ort

from edgeopt.errors import MachineError, ModelError
from edgeopt.files import disk_errors
from edgeopt.graph import files
from edgeopt.graph.provider import Provider
from edgeopt.graph.shared_weights import Shared, share
from edgeopt.lifetime import temporary_folder

_LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_QUIET = 4  # what goes wrong is raised and said once; warnings about constant folding and the like say nothing to our users


@dataclass(frozen=True)
class SessionConfig:
    """How a session is opened; threads None: the provider's."""

    threads: int | None = None
    optimization: Literal["none", "basic", "extended", "all"] = "all"
    optimized_path: Path | None = None
    """File to which onnxruntime writes the optimised graph."""
    prepacking: bool = True
    """Copy weights into the kernels' preferred layout; false: a mapped weight file takes no further memory."""
    arena: bool = True
    """Keep freed memory for the next run; false: return it, which is slower."""
    profile_prefix: Path | None = None
    """File prefix of onnxruntime's per-operator profile."""
    entries: Mapping[str, str] = field(default_factory=dict)
    """More session configuration entries."""


def open_session(
    path: Path | bytes | Shared, provider: Provider | None = None, *, config: SessionConfig = SessionConfig()
) -> ort.InferenceSession:
    """Open the ONNX model at `path` (or in memory: its bytes, or shared) on `provider` (None: the CPU's, one thread).

    Raises:
        ModelError: onnxruntime cannot load the model, for example because of an unregistered operator.
        MachineError: the provider is not in this build of onnxruntime, or the disk is full.
    """
    provider = provider or Provider()
    available = ort.get_available_providers()
    if provider.name not in available:
        raise MachineError(
            f"provider {provider.name} is not in this onnxruntime {ort.__version__}; it has: {', '.join(available)}"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads or provider.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    options.graph_optimization_level = _LEVELS[config.optimization]
    if not config.prepacking:
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = config.arena
    if config.optimized_path is not None:
        options.optimized_model_filepath = str(config.optimized_path)
    if config.profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(config.profile_prefix)
    for key, value in config.entries.items():
        options.add_session_config_entry(key, value)
    if isinstance(path, Shared):
        path.give(options)
    held = path.structure if isinstance(path, Shared) else path
    source = held if isinstance(held, bytes) else str(held)
    try:
        session = ort.InferenceSession(source, options, providers=[(provider.name, provider.options)])
    except Exception as error:
        if config.optimized_path is not None:
            _check_room(config.optimized_path, len(held) if isinstance(held, bytes) else held.stat().st_size)
        raise ModelError(_explain("the model" if isinstance(held, bytes) else str(held), str(error))) from error
    if isinstance(path, Shared):
        session.edgeopt_weights = path.weights  # which live as long as the session that reads them
    return session


def _check_room(path: Path, size: int) -> None:
    """Raise a `MachineError` if no file of this size can be written at `path`, where onnxruntime failed to write one.

    Of a full disk it only says that "Protobuf serialization failed".
    """
    path.unlink(missing_ok=True)
    with disk_errors(path):
        path.write_bytes(bytes(size))
    path.unlink()


def open_model(model: ir.Model, *, config: SessionConfig = SessionConfig()) -> ort.InferenceSession:
    """Open a session on a model in memory, whose weights it shares; they must not change while the session lives."""
    shared = share(model)
    if shared is not None:
        return open_session(shared, config=large_config(model, config))
    with temporary_folder() as folder:
        path, _ = files.write_temporary(model, Path(folder) / "model.onnx")
        return open_session(path, config=large_config(model, config))


def large_config(model: ir.Model, config: SessionConfig) -> SessionConfig:
    """Return the configuration for `model`: beyond 2 GiB its weights are not copied again for the kernels."""
    return config if files.fits_one_message(model) else replace(config, prepacking=False)


_UNKNOWN_OPERATOR = re.compile(
    r"(?:Fatal error: |No Op registered for )([\w.:]+)(?:\(-?\d+\))? (?:is not a registered|with domain_version)"
)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed:)?")


def _explain(name: str, message: str) -> str:
    unknown = _UNKNOWN_OPERATOR.search(message)
    if unknown:
        return f"{name}: operator {unknown[1]} is not registered in onnxruntime {ort.__version__}; replace it, or register it"
    reason = _PREFIX.sub("", message.split("\n", maxsplit=1)[0])
    return f"{name}: onnxruntime {ort.__version__} cannot load it: {reason[:300]}"
