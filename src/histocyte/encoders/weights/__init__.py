"""Pre-trained weights: found, fetched, checked, renamed and fitted to a network."""
