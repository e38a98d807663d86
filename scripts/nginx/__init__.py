"""
nginx in front of TorchServe: its configuration, its process.

Imports `console` and `scripts.server`, which is all that the image of the front holds of `scripts`.
"""
