"""Cells and regions in files: each format both ways in one place, and in foreign/ what other programs write."""
