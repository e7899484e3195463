"""The model as onnxruntime's own format (.ort), with the operators that a reduced build of onnxruntime must have.

An .ort file is the graph after onnxruntime's optimizations: it loads faster, and a minimal build of onnxruntime, without the
ONNX parser and with only the listed operators and types, can run it. The list is the file that onnxruntime's
``build.sh --include_ops_by_config`` takes. The optimizations are those for every CPU, without layouts of one machine (NCHWc).

onnxruntime does not write the same bytes twice (of the 1.1 MB of UltraFace, 153 bytes differed between two files), so two
bundles of this format differ in their hashes.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from edgeopt.errors import ModelError
from edgeopt.graph.requirements import latest, minimum_onnxruntime
from edgeopt.lifetime import temporary_folder

MODEL = "model.ort"
OPERATORS = "required_operators.config"
MINIMUM = "1.20"
"""The oldest release that was seen to load version 6 of the format; 1.15.1 refuses it."""
_LIMIT_BYTES = 2 << 30


def minimum(model: ir.Model) -> str | None:
    """Return the oldest onnxruntime known to load `model` as .ort; None: not known."""
    return latest(minimum_onnxruntime(model), MINIMUM)


def write_ort(model: Path, folder: Path) -> None:
    """Write `model`, an ONNX file, as ``model.ort`` with ``required_operators.config`` into `folder`.

    Raises:
        ModelError: onnxruntime does not convert it.
    """
    import onnxruntime as ort
    from onnxruntime.tools.ort_format_model import create_config_from_models

    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised and said once
    options.optimized_model_filepath = str(folder / MODEL)
    options.add_session_config_entry("session.save_model_format", "ORT")
    with temporary_folder("edgeopt-ort-") as place, _less_logging():
        try:
            ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["NchwcTransformer"])
            create_config_from_models([folder / MODEL], place / OPERATORS, enable_type_reduction=True)
        except Exception as error:  # (what onnxruntime and its tool raise has no common base)
            raise ModelError(f"{model}: not converted to .ort: {' '.join(str(error).split())[:300]}") from error
        lines = [line for line in (place / OPERATORS).read_text("utf-8").splitlines() if not line.startswith("#")]
    if (folder / MODEL).stat().st_size >= _LIMIT_BYTES:
        raise ModelError(f"{model}: larger than 2 GiB as .ort, which onnxruntime does not load; leave --format ort out")
    about = f"# operators and types of {MODEL}, for onnxruntime's build.sh --minimal_build --include_ops_by_config"
    text = "\n".join([f"{about} --enable_reduced_operator_type_support", *lines]) + "\n"
    (folder / OPERATORS).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _less_logging() -> Iterator[None]:
    """Keep the tool from logging each file that it writes, and from warning of the one that it leaves open."""
    level = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        logging.disable(level)
