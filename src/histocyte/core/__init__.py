"""What everything else stands on: geometry, maps, instances, cells, classes, errors. No torch, no files."""
