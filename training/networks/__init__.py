"""
Networks by their names: this project's, timm's, and those of a user's own module.

Imports `iqa.imaging`, `iqa.network`, `iqa.tasks`; `timm` only where one of its networks is named.
"""
