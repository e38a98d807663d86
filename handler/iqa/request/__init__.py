"""
What a client sent: the body, a form, headers.

Imports nothing else of `iqa` but its errors.
"""
