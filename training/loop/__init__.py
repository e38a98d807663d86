"""
One training run: the settings, the trainer, the loss, the optimiser, the state on disk.

Imports the packages of `training` for data, measuring, graphs and the registry. The settings and
what they are made of import no torch: a command's help waits for them.
"""
