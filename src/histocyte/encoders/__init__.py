"""Pre-trained image encoders: an image in, a pyramid of features out."""
