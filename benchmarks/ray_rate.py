"""
Scoring a folder on one node of Ray against the same command without it.

    python -m benchmarks.ray_rate [--images 2000] [--rounds 3]

In turn, so many rounds. Two rates: of the whole command, where a Ray that starts for a run of a
minute weighs, and steady, from a tenth of the rows to the last. CPU time is of the command and of
everything below it. Writes build/scale/ray.json.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import record
from benchmarks.score_folder import make_images, start
from console import command_line
from scripts.server.cores import usable_cores

WAYS: Final = {"local": (), "ray": ("--ray", "local")}
FIRST_SHARE: Final = 0.1
POLL_S: Final = 0.1


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = record.parser_of("ray_rate", __doc__, "scale")
    parser.add_argument("--images", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        arguments.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
            found = compare(Path(folder), arguments.images, arguments.rounds)
        return record.keep(arguments.out, "ray", found)

    return command_line.run(command, arguments.debug)


def compare(folder: Path, n_images: int, rounds: int) -> dict[str, Any]:
    """Score the same folder by both ways, in turn; refuse rows that differ."""
    images = make_images(folder, n_images)
    rows: dict[str, bytes] = {}
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for turn in range(rounds):
        for name in list(WAYS) if turn % 2 == 0 else reversed(WAYS):
            out = folder / f"{name}.csv"
            seen[name].append(_score(images, out, n_images, *WAYS[name]))
            rows[name] = out.read_bytes()
            out.unlink()
    if rows["local"] != rows["ray"]:
        raise RuntimeError("rows: expected those of a local run, byte for byte, got others.")
    medians = {
        name: {key: statistics.median(one[key] for one in some) for key in some[0]}
        for name, some in seen.items()
    }
    return {
        "images": n_images,
        "workers": usable_cores(),
        "rounds": seen,
        # Local over Ray for what is spent, Ray over local for what is gained: 1 is as good.
        "ratio_whole": round(medians["local"]["seconds"] / medians["ray"]["seconds"], 3),
        "ratio_steady": round(
            medians["ray"]["steady_per_s"] / medians["local"]["steady_per_s"], 3
        ),
        "ratio_cpu": round(medians["local"]["cpu_s"] / medians["ray"]["cpu_s"], 3),
        "cpu_s_more": round(medians["ray"]["cpu_s"] - medians["local"]["cpu_s"], 1),
    }  # fmt: skip


def _score(images: Path, out: Path, n_images: int, *words: str) -> dict[str, float]:
    """Run the command, and watch its journal and its processes."""
    journal = out.with_name(f".{out.name}.run") / "journal.jsonl"
    cpu_s: dict[psutil.Process, float] = {}
    rows: list[tuple[float, int]] = []
    started_s = time.monotonic()
    process = start(images, out, *words)
    me = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(POLL_S)
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [me, *me.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    used = one.cpu_times()
                    cpu_s[one] = used.user + used.system
        with contextlib.suppress(FileNotFoundError):
            rows.append((time.monotonic(), journal.read_bytes().count(b"\n")))
    seconds = time.monotonic() - started_s
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    first = next(row for row in rows if row[1] >= FIRST_SHARE * n_images)
    last = next(row for row in rows if row[1] == rows[-1][1])
    return {
        "seconds": round(seconds, 2),
        "steady_per_s": round((last[1] - first[1]) / (last[0] - first[0]), 2),
        "first_row_s": round(next(row for row in rows if row[1])[0] - started_s, 2),
        "cpu_s": round(sum(cpu_s.values()), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
