"""Labelled data brought into one form: readers of sets as they are distributed, and the import itself."""
