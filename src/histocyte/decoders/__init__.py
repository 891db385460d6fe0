"""From an encoder's features to one dense feature map, and heads that turn it into maps."""
