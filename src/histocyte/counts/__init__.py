"""Cells counted per class and region of a result, per mm², and two counts of the same slides compared."""
