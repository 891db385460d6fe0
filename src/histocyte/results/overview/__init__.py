"""One picture of a slide with its cells, a legend and a scale bar."""
