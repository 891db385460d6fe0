"""A classifier of one's own classes on the vectors of a model's cells: cells matched, head fitted and scored."""
