"""Search for exceptions: nodes kept in floating point or at 16 bits for accuracy or latency."""
