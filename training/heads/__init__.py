"""
Heads beside the score: what is wrong with a picture, and whether it is a photograph at all.

Imports `iqa` for features and the definition of the heads, and `training.data` for pictures.
"""
