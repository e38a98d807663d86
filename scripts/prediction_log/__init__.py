"""
The prediction log, read: its segments, what was done to them, Parquet, erasure, counts.

Imports `iqa.prediction_log`, whose files these are.
"""
