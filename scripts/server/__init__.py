"""
One TorchServe: addresses, client, process, state on disk, locks.

Imports `console`, and no other package of `scripts`.
"""
