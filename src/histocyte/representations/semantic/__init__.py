"""Classes of pixels: regions to maps and back."""
