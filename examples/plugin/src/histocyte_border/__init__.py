"""Nuclei by their borders: an example of parts that another package adds to histocyte."""
