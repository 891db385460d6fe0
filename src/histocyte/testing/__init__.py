"""Synthetic tissue with known truth, a perfect model, and contracts that every part must keep."""
