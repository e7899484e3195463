"""Adaptive rounding: choose, for every weight, which of the two nearest grid points loses less at the layer's output."""
