"""Scores of instances against a truth: pure functions and thin sums over images."""
