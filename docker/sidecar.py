"""
The side-car's container: sees to it that the store has an archive, then follows the alias.

The server waits for that first archive, for it is not told of the registry; from then on
`python -m scripts.deploy sync --watch` does everything. Options are those of that command.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from console import command_line
from scripts.archive import last_known_alias, mar_file
from scripts.rollout.deployment_records import Records
from scripts.server.models import ServedModel, parse_models
from scripts.server.state import StateDir

logger = logging.getLogger(__name__)

PAUSE_S = 5.0


def main() -> int:
    """Run until TERM."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--alias", default="staging")
    command_line.add_model_name(parser, "registered model")
    parser.add_argument("--model-store", type=Path, default=mar_file.MODEL_STORE)
    command_line.add_tracking_uri(parser)
    known, _ = parser.parse_known_args()
    named = os.environ.get("MODELS") if known.all else None
    models = parse_models(named or known.model_name, known.alias)
    status = command_line.run(lambda: first_archive(models, known.model_store), debug=False)
    if status == 0:
        # In place of this process: a build leaves a gigabyte of torch in memory.
        follow = [sys.executable, "-m", "scripts.deploy", "sync", "--watch", *sys.argv[1:]]
        os.execv(sys.executable, follow)
    return status


def first_archive(models: Sequence[ServedModel], store: Path) -> int:
    """
    Build the archives that the aliases name, until the store has one on record.

    The server starts with that one; the others are built and loaded by the first rounds after it.
    What fails is tried again: the registry may come later, and so may the first version.
    """
    said: dict[str, str] = {}
    while all(last_known_alias.read(model.name, model.alias, store) is None for model in models):
        for model in models:
            if _is_built(model, store, said):
                break
        else:
            time.sleep(PAUSE_S)
    return 0


def _is_built(model: ServedModel, store: Path, said: dict[str, str]) -> bool:
    from scripts.supervisor.alias_archive import served_archive  # MLflow takes seconds to import

    records = Records(state=StateDir.from_environment(), model_name=model.name)
    try:
        mar = served_archive(model.name, model.alias, store, records)
    except (ValueError, OSError, RuntimeError) as error:
        if str(error) != said.get(model.name):
            logger.warning("no archive yet: %s", error)
        said[model.name] = str(error)
        return False
    logger.info("first archive: %s", mar.name)
    return True


if __name__ == "__main__":
    sys.exit(main())
