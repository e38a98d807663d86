"""
What a network's output means: a score with its label and interval, or a class.

Imports nothing else of `iqa` but its errors.
"""
