"""Checkpoints that others published, read once and written as our model files."""
