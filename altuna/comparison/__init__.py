"""Many trainings side by side: run, summarise, reproduce published tables."""
