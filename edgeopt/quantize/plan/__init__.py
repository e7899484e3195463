"""Plan: decide what is quantized, how, and say why."""
