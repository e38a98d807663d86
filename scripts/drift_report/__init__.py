"""
Whether the world moved, from a prediction log: its rows, the reference, the page.

Imports `iqa.drift` for the comparison, `scripts.prediction_log` for rows, `training.drift` to make
a reference of a log.
"""
