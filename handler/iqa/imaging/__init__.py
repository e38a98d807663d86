"""
Image bytes -> RGB pixels of the network's size; the only definition.

Imports nothing else of `iqa` but its errors.
"""
