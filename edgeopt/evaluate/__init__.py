"""Evaluate: run every model on the same samples, and find where models diverge."""
