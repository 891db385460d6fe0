"""Public sets of labelled images, each with what is known of it and a reader of it as it is distributed."""
