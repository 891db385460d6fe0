"""`histocyte data audit`."""
