"""
Serve the one archive that a manifest names, e.g. as a serving runtime of KServe.

Whoever starts the container puts the archive into a folder and states its digest. It is checked,
copied to the model store, and served; no alias is followed and no registry is asked.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from console import command_line
from console.default_names import MODEL_NAME
from scripts.archive import last_known_alias, mar_file
from scripts.server.models import parse_models

DIGEST: Final = "PINNED_MAR_SHA256"
ALIAS: Final = "pinned"


def main(argv: list[str] | None = None) -> int:
    """Place the archive, and become the server."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.serve_pinned",
        description="Check the one archive of a folder against a SHA-256, then serve it as "
        "scripts.serve --from-store does. For orchestrators that name the version themselves.",
        epilog="Example: PINNED_MAR_SHA256=... python -m scripts.serve_pinned /mnt/models",
    )
    parser.add_argument(
        "folder", type=Path, help="holds one archive of the model, NAME-VERSION.mar"
    )
    parser.add_argument(
        "--sha256", default=os.environ.get(DIGEST) or "", metavar="DIGEST",
        help=f"of the archive, in hexadecimal [{DIGEST}]",
    )  # fmt: skip
    parser.add_argument(
        "--models", default=os.environ.get("MODELS") or MODEL_NAME, metavar="NAME",
        help="the model [MODELS] (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--model-store", type=Path, default=mar_file.MODEL_STORE,
        help="where it is copied to (default: model-store)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        place(arguments.folder, arguments.model_store, arguments.models, arguments.sha256)
        return 0

    status = command_line.run(command, arguments.debug)
    if status == 0:
        words = ["--from-store", "--models", arguments.models, "--alias", ALIAS]
        words += ["--model-store", str(arguments.model_store)]
        os.execv(sys.executable, [sys.executable, "-m", "scripts.serve", *words])
    return status


def place(folder: Path, store: Path, models: str, digest: str) -> Path:
    """
    Copy the folder's archive into the model store, and note it there as what is to be served.

    Args:
        folder: Holds the archive.
        store: The model store.
        models: Name of the one model, as of --models.
        digest: SHA-256 of the archive.

    Returns:
        The copy.

    Raises:
        ValueError: The digest is none, the folder has no archive of the model or several, or it
            is another one. The store is unchanged.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(
            f"{DIGEST}: expected the archive's SHA-256, got {digest!r}. It stands in the version's "
            "tag mar_uri: python -m scripts.model_info."
        )
    wanted = parse_models(models, ALIAS)
    if len(wanted) != 1:
        raise ValueError(f"--models: expected one model, got {models!r}. Pin each by itself.")
    name, alias = wanted[0].name, wanted[0].alias
    found = mar_file.archives_of(folder, name)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(
            f"{folder}: expected one archive of {name}, got {names}. Name the folder that holds it "
            "alone."
        )
    got = mar_file.sha256_of(found[0])
    if got != digest:
        raise ValueError(
            f"{found[0]}: expected sha256 {digest}, got {got}. Name address and digest of one and "
            "the same version."
        )
    store.mkdir(parents=True, exist_ok=True)
    target = store / found[0].name
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=store) as own:
        copied = Path(shutil.copy(found[0], own))
        copied.replace(target)  # a start finds the whole archive, or the one before
    last_known_alias.write(name, alias, target)
    return target


if __name__ == "__main__":
    sys.exit(main())
