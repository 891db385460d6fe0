"""Models as ONNX: export, file, metadata, 8-bit integers."""
