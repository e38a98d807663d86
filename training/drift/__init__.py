"""
The reference for drift: pictures measured, and how their measures are spread.

Imports `iqa` for what is measured, and `training.data` for pictures.
"""
