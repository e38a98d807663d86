"""
The prediction log, read: its segments, what was done to them, Parquet, erasure, counts.

Imports `iqa.predictions`, whose files these are.
"""
