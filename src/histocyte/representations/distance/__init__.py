"""CISCA's distance maps: labels to maps and back, and what a network loses by."""
