"""Targets: devices and execution providers, how to reach them, and their rules."""
