"""The run directory: schema, saving, loading, evaluation and prediction."""
