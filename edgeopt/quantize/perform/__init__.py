"""Perform: carry a plan out on the graph, and look at what came of it."""
