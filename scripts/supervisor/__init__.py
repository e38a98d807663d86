"""
The process that keeps a server running: start, readiness, restart, stop without loss.

Imports `scripts.rollout`, `scripts.archive`, `scripts.server` and `iqa.prediction_log`.
"""
