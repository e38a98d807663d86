"""
Fill /opt/venv from lock files, in a build: `python install.py LOCK...`.

Beside what is installed it leaves /opt/venv/installed.json: of each package the digest of the very
file that was taken, for the bill of materials (`scripts/sbom.py`).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

VENV = Path("/opt/venv")
RECORD = VENV / "installed.json"


def main() -> int:
    """Install with hashes, record, and say what is missing where a lock is not there."""
    locks = [Path(word) for word in sys.argv[1:]]
    for lock in locks:
        if not lock.exists():
            print(
                f"error: {lock.parent.name}/{lock.name}: expected a lock for TORCH="
                f"{lock.parent.name}, found none. See docs/docker.md, TORCH.",
                file=sys.stderr,
            )
            return 2
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [
                sys.executable, "-m", "pip", "--python", str(VENV / "bin" / "python"),
                "install", "--require-hashes", "--report", str(report),
                *(word for lock in locks for word in ("-r", str(lock))),
            ],
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            return done.returncode
        taken = json.loads(report.read_text())["install"]
    record = {
        item["metadata"]["name"]: {
            "version": item["metadata"]["version"],
            "sha256": item["download_info"]["archive_info"]["hashes"]["sha256"],
            "file": os.path.basename(item["download_info"]["url"]),
        }
        for item in taken
    }
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
