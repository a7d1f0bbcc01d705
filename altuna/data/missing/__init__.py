"""Missing modalities: patterns of absence and masks."""
