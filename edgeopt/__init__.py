"""edgeopt: distil, prune, export, quantize, profile and bundle models for the edge."""

__version__ = "0.1.0"
