"""Observe: what values the activations of a model take on calibration data."""
