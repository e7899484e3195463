"""Inspection of a quantized model: SQNR, coverage, sensitivity, diagnosis."""
