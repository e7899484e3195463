"""Evaluate: the same evaluation samples through every model, and where they part from each other."""
