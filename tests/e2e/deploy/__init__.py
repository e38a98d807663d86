"""Deployments to a running server: swaps, refusals, what follows the alias, what retires."""
