"""
Has the world moved: what is measured of each picture, counted by bins, compared with a reference.

Imports `iqa.imaging` for what the pixels' statistics mean, and `iqa`'s errors.
"""
