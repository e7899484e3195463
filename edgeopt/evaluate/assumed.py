"""How images become the input of a detector whose file does not say it: as the family trains that its outputs show.

    YOLOX          BGR, 0…255, letterboxed in the upper left corner on 114
    FastestDet     BGR, stretched, divided by 255
    YOLOv5, YOLOv8 RGB, letterboxed in the centre on 114, divided by 255
    SSD heads      RGB, stretched, (pixel − 127) / 128

An assumption is said; a file ``preprocessing.toml`` beside the model, or ``?preprocessing=FILE``, states it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeopt import progress
from edgeopt.data.preprocessing import ImageInput
from edgeopt.graph.provider import Provider
from edgeopt.graph.session import open_session
from edgeopt.graph.signature import Signature
from edgeopt.tasks.decoding import Boxes
from edgeopt.tasks.detector_forms import recognised

_GREY = 114.0


def assumed_steps(path: Path, signature: Signature, provider: Provider) -> ImageInput | None:
    """Return the preprocessing of the detector at `path`; None: it takes no images, or is no detector that is known."""
    if len(signature.inputs) != 1:
        return None
    (spec,) = signature.inputs
    if len(spec.shape) != 4 or spec.shape[1] != 3 or not all(isinstance(size, int) for size in spec.shape[2:]):
        return None
    height, width = (int(size) for size in spec.shape[2:])
    session = open_session(path, provider)
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {spec.name: np.full((1, 3, height, width), _GREY, np.float32)})
    except Exception:  # noqa: BLE001  (a model that takes something else is for the evaluation to report)
        return None
    outputs = {name: np.asarray(value)[0] for name, value in zip(names, values, strict=True) if np.ndim(value) > 1}
    first = next(iter(outputs.values()), None)
    classes = first.shape[0] - 5 if first is not None and first.ndim == 3 else None
    form = recognised(outputs, (width, height), classes) if outputs else None
    if form is None:
        return None
    family, steps = _family(form)
    progress.note(
        f"{path}: how images become its input is not stated; assumed as for {family}. "
        "State it in preprocessing.toml beside the model, or with ?preprocessing=FILE"
    )
    return ImageInput.read({"width": width, "height": height, "input": spec.name, **steps}, where=str(path))


def _family(form: Boxes) -> tuple[str, dict[str, Any]]:
    if form.encoding == "grid":
        corner = {"letterbox": True, "pad": [_GREY], "pad_position": "corner"}
        return "YOLOX (BGR, 0 to 255, letterboxed in the corner)", {"colour": "BGR", "scale": [1.0], **corner}
    if form.encoding == "tanh-grid":
        return "FastestDet (BGR, stretched, divided by 255)", {"colour": "BGR"}
    if form.boxes is not None:
        return "SSD heads (RGB, stretched, minus 127 over 128)", {"mean": [127.0], "scale": [128.0]}
    return "YOLOv5 and YOLOv8 (RGB, letterboxed, divided by 255)", {"letterbox": True, "pad": [_GREY]}
