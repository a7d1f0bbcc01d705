"""From data and options to a trained run."""
