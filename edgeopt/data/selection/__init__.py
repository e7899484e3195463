"""Calibrate data: pick the samples a model is calibrated with, check them, and keep them as a calibration set."""

from edgeopt.data.selection.stage import CalibrateConfig, CalibrationSet, make_calibration_set

__all__ = ["CalibrateConfig", "CalibrationSet", "make_calibration_set"]
