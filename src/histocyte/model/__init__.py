"""What a model is: its spec, its weights in one safe file, and the models we ship."""
