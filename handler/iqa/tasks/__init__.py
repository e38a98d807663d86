"""
What a network's output means: the score, its label, its interval.

Imports nothing else of `iqa` but its errors.
"""
