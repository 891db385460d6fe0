"""What one slide leaves on disk: a folder with its cells, a picture, counts, and how they came to be."""

from histocyte.results.folder import Options, segment_to_folder
from histocyte.results.outputs import FORMATS

__all__ = ["FORMATS", "Options", "segment_to_folder"]
