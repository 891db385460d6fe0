"""Checks that find mistakes in labelled images before anything learns from them."""
