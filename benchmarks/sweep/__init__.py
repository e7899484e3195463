"""Sweeps that look for faults: inputs nobody wrote by hand, until the time is up."""
