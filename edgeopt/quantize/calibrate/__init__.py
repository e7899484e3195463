"""Calibration: statistics of activations on calibration data, and ranges from them."""
