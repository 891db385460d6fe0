"""Augmentations of crops: single steps, and the sets of them that published methods use."""
