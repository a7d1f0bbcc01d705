"""How good predictions are, and how honest their confidence."""
