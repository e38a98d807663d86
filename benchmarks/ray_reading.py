"""
Who reads the files on Ray: `read_binary_files`, or the actors that get names (decision 35).

    python -m benchmarks.ray_reading [--images 400] [--rounds 3] [--large-mb 1000]

Both ways score the same files on one Ray of this machine, in turn. Then three faults that a folder
of ten million has: a file that is gone, one that cannot be read, and one that is far too large.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.score_folder import make_images
from console import command_line
from scripts.batch import model
from scripts.batch.cluster import Cluster
from scripts.batch.ray_session import LOCAL
from scripts.batch.rows import Row
from scripts.batch.worker import Scorer, Settings
from scripts.server.cores import usable_cores

BATCH = 32
Way = Callable[[list[Path]], Iterator[Row]]


class Graph:
    """The actor of the usual chain: it holds the graph, and gets the files' content."""

    def __init__(self, settings: Settings) -> None:
        sys.path.insert(0, settings.code)
        self._scorer = Scorer(settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Score a batch: columns `path` and `bytes` in, a column `row` of JSON out."""
        pictures = [
            self._scorer.read(0, name, bytes(body))
            for name, body in zip(batch["path"], batch["bytes"], strict=True)
        ]
        for picture in pictures:
            if picture.pixels is not None:
                self._scorer.judge([picture])
        return {"row": [json.dumps(picture.row) for picture in pictures]}


def main(argv: list[str] | None = None) -> int:
    """Compare, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_reading", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", type=int, default=400, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument(
        "--large-mb", type=int, default=1000, help="of the large file (default: %(default)s)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(compare(arguments, Path(folder)), indent=2))
        return 0

    return command_line.run(command, arguments.debug)


def compare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Score by both ways; return what came of it."""
    names = sorted(make_images(folder, arguments.images).iterdir())
    settings = model.open_model(model.SHIPPED, "cpu", folder / "model").settings("", "cpu")
    with Cluster(LOCAL, settings, BATCH, 30.0, None, folder / "ray") as cluster:
        ways: dict[str, Way] = {
            "read_binary_files": lambda paths: _by_files(paths, settings),
            "names": lambda paths: (row for _, row in cluster.score(enumerate(map(str, paths)))),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        rows: dict[str, list[Row]] = {}
        for turn in range(arguments.rounds):
            for name, way in list(ways.items()) if turn % 2 else reversed(ways.items()):
                started_s = time.monotonic()
                rows[name] = list(way(names))
                seconds[name].append(round(time.monotonic() - started_s, 1))
        same = [sorted(some, key=lambda row: row["filename"]) for some in rows.values()]
        return {
            "images": len(names),
            "seconds": seconds,
            "medians": {name: statistics.median(times) for name, times in seconds.items()},
            "same_rows": same[0] == same[1],
            "in_order_of_the_names": {
                name: [row["filename"] for row in some] == [str(path) for path in names]
                for name, some in rows.items()
            },
            "faults": _faults(ways, names[:BATCH], folder, arguments.large_mb),
        }


def _faults(ways: dict[str, Way], sound: list[Path], folder: Path, large_mb: int) -> dict[str, Any]:
    gone, unreadable, large = (folder / name for name in ("gone.jpg", "folder.jpg", "large.jpg"))
    unreadable.mkdir()  # opens, but cannot be read, whoever asks
    (unreadable / "below.jpg").hardlink_to(sound[0])
    with large.open("wb") as file:
        file.truncate(large_mb << 20)
    found: dict[str, Any] = {}
    for path in (gone, unreadable, large):
        for name, way in ways.items():
            before = _rss()
            with _Highest() as highest:
                try:
                    rows = list(way([*sound, path]))
                    wanted = {*map(str, sound), str(path)}
                    missing = len(wanted - {row["filename"] for row in rows})
                    came = f"{len(rows)} rows, {missing} of {len(wanted)} missing"
                    came += "".join(f", {row['reason']}" for row in rows if "reason" in row)
                except Exception as error:
                    came = f"failed: {type(error).__name__}: {str(error).strip()[-160:]}"
            found[f"{path.name}, {name}"] = {
                "came": came, "mib_more": round((highest.rss - before) / 2**20)
            }  # fmt: skip
    return found


def _by_files(paths: list[Path], settings: Settings) -> Iterator[Row]:
    import ray.data

    # Without a core of its own: on one core actor and reading would wait for each other for good.
    scored = ray.data.read_binary_files(
        [str(path) for path in paths], include_paths=True, ray_remote_args={"num_cpus": 0}
    )
    scored = scored.map_batches(
        Graph, fn_constructor_args=(settings,), batch_size=BATCH, num_cpus=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=usable_cores()),
    )  # fmt: skip
    for row in scored.iter_rows():
        told: Row = json.loads(row["row"])
        yield told


class _Highest:
    """The most memory that this process and all below it had at once, in bytes."""

    def __init__(self) -> None:
        self.rss = 0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Highest:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.rss = max(self.rss, _rss())


def _rss() -> int:
    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
