"""
Run all tests, in two halves side by side: the body of `make test`.

Servers that start, and clients that wait, leave a fifth of two cores idle. The tests without a
server are run there, behind, with less of a claim to the cores. A file in which a test is marked
`alone` measures a time: it goes to the first half, where such a test has its turn without others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Final

from console.paths import ROOT

TESTS: Final = ROOT / "tests"
WITHOUT_SERVER: Final = ("unit", "integration")
ASKED_FOR_BY_NAME: Final = ("docker",)
# The longest files begin first (`tests.file_order`).
IN_ORDER: Final = ("--dist", "loadfile", "--no-loadscope-reorder")
FIRST: Final = ("--numprocesses", "4", *IN_ORDER)
BEHIND: Final = ("--numprocesses", "2", *IN_ORDER, "--timeout", "900")
"""With more time for each test than pyproject.toml gives."""
NICE: Final = 10
POLL_S: Final = 0.5


def main() -> int:
    """Run both halves; 0 if all tests passed."""
    timed = [str(path.relative_to(ROOT)) for path in files_that_measure_a_time()]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "output").open("wb") as output:
        behind = subprocess.Popen(
            [*_pytest(), *(f"tests/{name}" for name in WITHOUT_SERVER),
             *(f"--ignore={file}" for file in timed), *BEHIND],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, preexec_fn=lambda: os.nice(NICE),
        )  # fmt: skip
        try:
            first = subprocess.run(
                [*_pytest(), *parts_with_a_server(), *timed, *FIRST], cwd=ROOT, check=False
            )
            print("\nThe tests without a server:", flush=True)
            with Path(output.name).open("rb") as written:
                _copy_until_end(written, behind)
        finally:
            behind.terminate()
            behind.wait()
    return 1 if first.returncode or behind.returncode else 0


def parts_with_a_server() -> list[str]:
    """Return the files and folders of the first half, but for those that only measure a time."""
    others = {*WITHOUT_SERVER, *ASKED_FOR_BY_NAME}
    return [
        str(path.relative_to(ROOT))
        for path in sorted(TESTS.iterdir())
        if path.match("test_*.py")
        or (path.is_dir() and path.name not in others and any(path.rglob("test_*.py")))
    ]


def files_that_measure_a_time() -> list[Path]:
    """Return the files of the other half in which a test is marked `alone`."""
    return [
        path
        for name in WITHOUT_SERVER
        for path in sorted((TESTS / name).rglob("test_*.py"))
        if re.search(r"^\s*@pytest\.mark\.alone|^pytestmark.*\balone\b", path.read_text(), re.M)
    ]


def _pytest() -> list[str]:
    return [sys.executable, "-m", "pytest", *sys.argv[1:]]


def _copy_until_end(written: IO[bytes], process: subprocess.Popen[bytes]) -> None:
    """Print what the process has written and writes, until it ends."""
    while True:
        has_ended = process.poll() is not None
        sys.stdout.buffer.write(written.read())
        sys.stdout.buffer.flush()
        if has_ended:
            return
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
