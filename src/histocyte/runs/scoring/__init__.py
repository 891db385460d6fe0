"""Scores of a model on labelled images, and of any program's cells against true ones, each as one call."""
