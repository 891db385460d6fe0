"""Fitting a segmenter to labelled images: sampling, loop, resume, validation."""
