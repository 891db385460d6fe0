"""One uniform form of labelled images: Parquet shards with a description beside them."""
