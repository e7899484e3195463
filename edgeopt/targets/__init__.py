"""Targets: what a device and its execution provider want, and how to reach them."""
