"""Graph: edits that leave the float function alone, each in its own file with its Before/After."""
