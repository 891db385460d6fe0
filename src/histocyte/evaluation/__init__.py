"""Protocols that score a model or its results on a data set."""
