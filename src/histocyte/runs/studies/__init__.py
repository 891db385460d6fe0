"""Studies: many small trainings or probes on the same images, and one table of them."""
