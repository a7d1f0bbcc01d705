"""Tables of samples: reading, column types and splits."""
