"""A card for each pre-trained encoder: weights, licence, resolution, normalisation and which blocks to tap."""
