"""Data: samples from calibration sets, arrays, text, images and recordings; batches, checks, selection."""
