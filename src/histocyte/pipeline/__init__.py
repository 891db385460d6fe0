"""The spine as code, READ FIRST: `cells` finds every cell of a slide or an image, `regions` its kinds of tissue."""

from histocyte.pipeline.cells import (
    Plan,
    Settings,
    finish_blocks,
    instances_on,
    instances_with_vectors,
    segment,
    segment_block,
    segment_image,
    segment_slide,
    settled,
)
from histocyte.pipeline.regions import Regions, regions_on

__all__ = [
    "Plan",
    "Regions",
    "Settings",
    "finish_blocks",
    "instances_on",
    "instances_with_vectors",
    "regions_on",
    "segment",
    "segment_block",
    "segment_image",
    "segment_slide",
    "settled",
]
