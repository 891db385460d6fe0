"""Pre-trained encoders compared, frozen, behind one decoder on the same budget."""
