"""Measurements, each printed as a small table; README.md describes them."""
