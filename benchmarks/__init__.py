"""Measurements, each printed as a small table: see README.md."""
