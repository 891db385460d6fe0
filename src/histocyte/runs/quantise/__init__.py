"""A model in 8-bit integers: tiles to calibrate by, and the file."""
