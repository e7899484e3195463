"""Verdicts: budgets, accuracy drop, and whether a run passes."""
