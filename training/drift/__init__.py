"""
The reference for drift: pictures measured, and how their measures are spread.

Imports `iqa` for what is measured, `training.data` for pictures, `training.networks` and
`training.graph` for the model that measures them.
"""
