"""Labelled data of one's own in the forms that programs leave it in."""
