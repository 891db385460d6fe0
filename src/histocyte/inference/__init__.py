"""From slide to cells: runtimes, prediction of maps, decoding, blocks."""
