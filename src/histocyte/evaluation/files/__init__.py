"""Cells in files of any program, scored against labels."""
