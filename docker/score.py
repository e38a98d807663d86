"""
What the image that scores a folder runs, as whoever owns the folder of the output.

A folder of the host that is mounted belongs to a person whose number no image can know. Started as
root, which is the default of this image, it takes that number before it reads anything; started
with `--user`, it stays who it is.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from scripts import score_folder


def main(argv: list[str]) -> int:
    """Give up root, and score."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--out", "--output_path", "--output-path", type=Path)
    out = parser.parse_known_args(argv)[0].out
    if out is not None and os.geteuid() == 0:
        owner = next(folder for folder in out.absolute().parents if folder.exists()).stat()
        if owner.st_uid != 0:
            os.setgroups([])
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
    return score_folder.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
