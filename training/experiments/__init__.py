"""
Models measured, pruned and compared: evaluation, thresholds, changed images, sweeps, ablations.

Imports the other packages of `training`; only the commands import it.
"""
