"""How instances are written as maps (for training) and read back from maps (for inference)."""
