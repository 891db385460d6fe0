"""HoVer-Net's horizontal and vertical distances: labels to maps and back, and what a network loses by."""
