"""What a student learns from: teachers' fields, crops, lessons and losses, cached on disk."""
