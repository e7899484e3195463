"""Data sets → batches: calibration sets by name, arrays from files, text, images."""
