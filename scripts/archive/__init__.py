"""
The archive that TorchServe loads: what goes in, which graph, the proof, the golden images.

Imports `scripts.server` and `training`.
"""
