"""
A model in a program of one's own, without a server: `iqa.load()`, and the command `iqa`.

Imports the rest of `iqa`, and nothing of it imports this.
"""
