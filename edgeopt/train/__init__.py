"""One training loop, shared by training, distilling and recovery after pruning."""
