"""
One training run: the settings, the trainer, the loss, the optimiser, the state on disk.

Imports `training.data`, `training.compute`, `training.measure`, `training.registry.tracking`.
"""
