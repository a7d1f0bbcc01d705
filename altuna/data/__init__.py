"""From a table of samples to batches."""
