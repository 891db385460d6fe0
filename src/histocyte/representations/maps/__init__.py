"""What all schemes' maps have in common: classes, logits, what each map says and how it turns."""
