"""A distillation: teachers asked, a student taught, both scored, and the card that compares them."""
