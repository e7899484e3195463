"""Quantization algorithms: GPTQ, adaptive rounding, cross-layer equalization, ranges of matrix products."""
