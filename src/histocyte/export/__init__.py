"""Finished cells and regions as files that other programs read."""
