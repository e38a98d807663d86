"""
What every command does alike: options, logging, exit status, where the checkout is.

Imports nothing of the project.
"""
