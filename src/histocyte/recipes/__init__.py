"""One short function per published method or shipped model."""
