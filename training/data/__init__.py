"""
Rated images: the layouts on disk, the splits, decoding, damage, synthetic sets.

Imports `iqa.imaging` and `iqa.tasks`.
"""
