"""What several decoders need: seams, strips, thinning, watershed, votes."""
