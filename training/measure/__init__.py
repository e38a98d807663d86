"""
What a model is worth: predictions, metrics, calibration, intervals, plots.

Imports `training.data`.
"""
