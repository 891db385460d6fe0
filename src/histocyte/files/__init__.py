"""Writing files so that whatever stops us leaves the old one or the new one, and nothing between."""
