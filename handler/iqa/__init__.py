"""
What training and serving share: the one definition of how image bytes become a 0-100 score.

The package lies in `handler/` because that folder is the archive: the same files are imported
by `training/`, by `scripts/`, by the tests, and by the worker out of the unpacked MAR.
Read it in this order: `decoding` -> `preprocessing` -> `model` (or `runtime`) -> `score`.
"""
