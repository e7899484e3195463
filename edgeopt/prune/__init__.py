"""Structured pruning: channels that matter least go, and the layers really shrink."""
