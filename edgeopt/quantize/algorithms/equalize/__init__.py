"""Cross-layer equalisation: make one weight scale for a whole tensor enough, for targets that have no more."""
