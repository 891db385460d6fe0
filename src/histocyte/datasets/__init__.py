"""Public labelled data behind one Sample; augmentation, splits."""
