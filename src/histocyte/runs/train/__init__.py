"""A training: what it begins with, its images, its options, the loop, curves, and the model file at its end."""
