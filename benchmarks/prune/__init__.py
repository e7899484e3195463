"""Pruning measured: predicted latency, accuracy after recovery, and what each part of a chain brings."""
