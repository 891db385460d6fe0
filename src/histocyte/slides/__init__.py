"""Slides and images behind one reader: any format in, RGB at any resolution out."""
