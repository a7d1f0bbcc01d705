"""Decoded cells on disk, each file decoded once."""
