"""Cellpose's flows: labels to maps and back, and what a network loses by."""
