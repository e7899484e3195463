"""A search beside random search and single recipes."""
