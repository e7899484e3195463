"""Students of known teachers, with seeds and controls."""
