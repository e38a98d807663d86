"""
From the alias to the served version: load, prove, switch, watch, drain, roll back.

Imports `scripts.archive` and `scripts.server`.
"""
