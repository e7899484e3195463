"""Selection: pick and check calibration samples, and write them as a calibration set."""

from edgeopt.data.selection.stage import CalibrateConfig, CalibrationSet, make_calibration_set

__all__ = ["CalibrateConfig", "CalibrationSet", "make_calibration_set"]
