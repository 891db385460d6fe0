"""One map against one target: pure tensor functions."""
