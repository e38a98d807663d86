"""
Several runs compared: sweeps, ablations, changed images.

Imports the other packages of `training`; only the commands import it.
"""
