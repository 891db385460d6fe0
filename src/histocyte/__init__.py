"""Find, outline and classify every cell on a histology slide."""

__version__ = "0.1.0"
