"""The report as an HTML page: plots, a gallery of tiles, the worst mistakes."""
