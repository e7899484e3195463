"""Sweeps that look for faults: generated inputs, until the time is up."""
