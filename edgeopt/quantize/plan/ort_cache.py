"""A plan's ranges as onnxruntime's calibration cache, for those who call `quantize_static` themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData, save_tensors_data

from edgeopt.files import write_aside
from edgeopt.quantize.plan.plan import Plan


def write_ort_cache(plan: Plan, path: Path) -> None:
    """Write the ranges of `plan` to `path`; `quantize_static(…, calibration_cache_path=path)` takes them as min-max ranges.

    The cache fits the model as it was prepared (same tensor names); ranges of smoothed copies are of no use to others.
    """
    ranges = {
        tensor.name: TensorData(lowest=np.float32(tensor.low), highest=np.float32(tensor.high)) for tensor in plan.tensors
    }
    with write_aside(path) as aside:
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), aside)
