"""Latency of parts on a target: blocks sliced out of the exported ONNX file, measured once, corrected by whole models."""
