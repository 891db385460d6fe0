"""What the vectors of nuclei know: classes by a linear probe, and whether they give away tile or slide."""
