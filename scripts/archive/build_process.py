"""
A build as a process of its own: `python -m scripts.archive.build_process NAME VERSION STORE`.

Its exit status tells a version that is refused (1) from circumstances that ended the build
(75, EX_TEMPFAIL of sysexits.h): whoever waits for it quarantines the one and tries the other again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlflow.exceptions import MlflowException

from console import command_line
from scripts.archive.build import build
from scripts.server.http_client import NotNow
from training.registry import model_versions
from training.registry.address import connect
from training.registry.availability import RegistryUnavailable


def main(argv: list[str]) -> int:
    """Build and place an archive, also over one with other bytes; the reason is the last line."""
    name, version, store = argv

    def command() -> int:
        try:
            connect()
            build(model_versions.get(name, version), Path(store), replace=True)
        except (NotNow, RegistryUnavailable, MlflowException, MemoryError) as error:
            print(f"error: {str(error) or type(error).__name__}", file=sys.stderr)
            return os.EX_TEMPFAIL
        return 0

    return command_line.run(command, debug=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
