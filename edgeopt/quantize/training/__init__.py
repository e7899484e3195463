"""Quantization-aware training on the Q/DQ graph itself: what is trained is what is deployed."""
