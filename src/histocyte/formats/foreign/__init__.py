"""Cells on one image as other programs write them, one file per format."""
