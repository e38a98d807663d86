"""Names that several packages share."""

from __future__ import annotations

from typing import Final

MODEL_NAME: Final = "iqa"
"""The registered model of commands and of a server that are told of none."""
ALIAS: Final = "staging"
"""The alias of the version that is served."""
DVC_LOCK: Final = "dvc.lock"
"""What DVC has on record of its stages; in a checkpoint, a run and an archive, the part of it that
made them (`training.registry.dvc_lock`)."""
