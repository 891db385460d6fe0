"""What every page that we write has in common: plots as SVG, their colours, the check of a path for HTML."""
