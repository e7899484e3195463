"""What a model consists of that can be removed: one file per kind of structure."""
