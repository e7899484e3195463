"""How much of each structure is kept: costs, dynamic programming, search."""
