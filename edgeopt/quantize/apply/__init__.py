"""Apply a plan: the edits that turn a floating-point graph into its quantized form."""
