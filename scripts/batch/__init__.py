"""
Scoring many images without a server: the listing, the worker processes, the journal, the output.

Imports `console`, `scripts.server`, `scripts.archive`, and in a worker the model's own `iqa`.
Torch, MLflow and TorchServe are not needed, but for an alias of the registry.
"""
