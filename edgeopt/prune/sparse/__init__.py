"""Single weights set to zero: a share of them, or n of every m (2:4). The file becomes smaller once it is compressed."""
