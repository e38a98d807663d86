"""
The network: architecture, checkpoint, and what runs it.

Imports `iqa.imaging` and `iqa.tasks` for what a checkpoint's card says.
"""
