"""GeoJSON as QuPath of every age and other tools write it: cells, annotations, TMA cores, tiles."""
