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
from pathlib import Path

from console import command_line
from scripts.archive import mar_file, note
from scripts.rollout.records import Records
from scripts.server.state import StateDir

logger = logging.getLogger(__name__)

PAUSE_S = 5.0


def main() -> int:
    """Run until TERM."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--alias", default="staging")
    command_line.add_model_name(parser, "registered model")
    parser.add_argument("--model-store", type=Path, default=mar_file.MODEL_STORE)
    command_line.add_tracking_uri(parser)
    known, _ = parser.parse_known_args()
    status = command_line.run(
        lambda: first_archive(known.model_name, known.alias, known.model_store), debug=False
    )
    if status == 0:
        # In place of this process: a build leaves a gigabyte of torch in memory.
        follow = [sys.executable, "-m", "scripts.deploy", "sync", "--watch", *sys.argv[1:]]
        os.execv(sys.executable, follow)
    return status


def first_archive(model_name: str, alias: str, store: Path) -> int:
    """
    Build the archive that the alias of a model names, where the store has none of it on record.

    What fails is tried again: the registry may come later, and so may the first version.
    """
    said = ""
    records = Records(state=StateDir.from_environment(), model_name=model_name)
    while note.read(model_name, alias, store) is None:
        from scripts.supervisor.served_archive import (
            served_archive,  # MLflow takes seconds to import
        )

        try:
            logger.info("first archive: %s", served_archive(model_name, alias, store, records).name)
        except (ValueError, OSError, RuntimeError) as error:
            if str(error) != said:
                logger.warning("no archive yet: %s", error)
            said = str(error)
            time.sleep(PAUSE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
