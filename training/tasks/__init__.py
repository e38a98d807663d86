"""
What training asks of a kind of model: its targets, its loss, which of two is better.

Imports `training.data` and `training.measure`.
"""
