"""
A loaded model that answers: what the handler, `iqa.load()` and the scoring of folders share.

Imports `iqa.imaging`, `iqa.network` and `iqa.tasks`.
"""
