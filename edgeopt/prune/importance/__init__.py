"""How much a structure matters: one file per criterion, each with its source."""
