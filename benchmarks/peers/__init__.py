"""Servers that the benchmark compares with; each runs alone, in its own environment and process."""
