"""
The prediction log: one row for each answer of a model, in segments, chained by digests.

Written by a worker, read by `python -m scripts.predictions`. Imports nothing but Python's own
library, for it is in every worker.
"""
