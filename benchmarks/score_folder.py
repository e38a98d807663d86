"""
Scoring a folder against bare processes, memory over many files, and kill -9 at random moments.

    python -m benchmarks.score_folder rate [--images 2000] [--rounds 3]
    python -m benchmarks.score_folder memory [--images 100000]
    python -m benchmarks.score_folder kills [--kills 20] [--images 400]

The limit: as many bare processes as workers, each a loop of read, decode and graph over its share,
and nothing else; start and loading count on both sides. Both in turn, so many rounds; only the
ratio of the medians is meant to hold elsewhere. Writes build/scale/NAME.json.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil
from PIL import Image
from tqdm import tqdm

from benchmarks import record
from benchmarks.file_opens import Opened
from benchmarks.peers.launches import ROOT
from benchmarks.sent_pictures import SMALL, make
from console import command_line
from scripts.server.cores import usable_cores

DISTINCT: Final = 50
"""Different files behind the links: as many as a page cache holds anyway."""
LIMIT_PROGRAM: Final = """
import json, sys
from pathlib import Path
from iqa.imaging.decoding import decode
from iqa.network.runtime import open_runtime
from iqa.tasks.score_scales import ScoreScale
model, names = Path(sys.argv[1]), sys.argv[2:]
runtime = open_runtime(model, "openvino", threads=1)
scale = ScoreScale.of_card(json.loads((model / "model.json").read_text()))
for name in open(names[0]):
    pixels = decode(open(name.strip(), "rb").read()).pixels()
    scale.reply(float(runtime.outputs(pixels[None])[0]))
"""


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = record.parser_of("score_folder", __doc__, "scale")
    parser.add_argument("what", choices=sorted(MEASURES))
    parser.add_argument("--images", type=int, help="(default: as above)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        arguments.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
            found = MEASURES[arguments.what](arguments, Path(folder))
        return record.keep(arguments.out, arguments.what, found)

    return command_line.run(command, arguments.debug)


def rate(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compare the command with the limit."""
    images = make_images(folder, arguments.images or 2000)
    model = _model(folder)
    ways = {
        "limit": lambda: _limit(images, model, folder),
        "score_folder": lambda: _score(images, folder / "scores.csv"),
    }
    return _in_turn(ways, arguments.rounds, "limit", "score_folder", len(os.listdir(images)))


def memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """
    Watch the memory of the command and its workers over many files.

    Only every twentieth is a photograph, the others are empty and get their refusal: what is asked
    is what grows by the file, and the graph would take an hour.
    """
    images = make_images(folder, arguments.images or 100_000, photograph_every=20)
    process = start(images, folder / "scores.csv")
    me = psutil.Process(process.pid)
    journal = folder / ".scores.csv.run" / "journal.jsonl"
    seen: list[dict[str, int]] = []
    while process.poll() is None:
        time.sleep(0.5)
        try:
            bytes_of = {"command": me.memory_info().rss}
            for place, child in enumerate(sorted(me.children(), key=lambda child: child.pid)):
                bytes_of[f"worker {place}"] = child.memory_info().rss
        except psutil.NoSuchProcess:
            break
        if journal.exists() and journal.stat().st_size:
            seen.append(bytes_of)
    status = process.wait()
    found = {}
    # Medians of the third and of the last quarter of the time: the growth in the last half.
    quarters = [seen[len(seen) * part // 4 : len(seen) * (part + 1) // 4] for part in (2, 3)]
    for who in max(seen, key=len):  # at the end some workers are gone already
        third, last = (statistics.median(of[who] for of in some if who in of) for some in quarters)
        found[who] = {"mib": round(last / 2**20, 1), "growth": round(last / third - 1, 5)}
    return {"images": len(os.listdir(images)), "status": status, "memory": found}


def kills(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill the command again and again; is the result that of an undisturbed run?"""
    images = make_images(folder, arguments.images or 400)
    moments = random.Random(arguments.seed)
    took_s = _score(images, folder / "undisturbed.csv")
    expected = (folder / "undisturbed.csv").read_bytes()
    valid = same = 0
    kept: list[int] = []
    again: list[int] = []
    bar = tqdm(total=arguments.kills, unit="kill")
    while len(again) < arguments.kills:
        out = folder / "scores.csv"
        out.unlink(missing_ok=True)
        with Opened(images) as opened:
            process = start(images, out)
            time.sleep(moments.uniform(0.0, took_s))
            if process.poll() is not None:  # it was faster than the undisturbed one
                continue
            process.kill()
            process.wait()
            valid += not out.exists() or expected.startswith(out.read_bytes())
            kept.append(_lines(folder / ".scores.csv.run" / "journal.jsonl"))
            _score(images, out)
        again.append(opened.counts.total() - len(os.listdir(images)))
        same += out.read_bytes() == expected
        bar.update()
    bar.close()
    return {
        "images": len(os.listdir(images)),
        "kills": arguments.kills,
        "workers": usable_cores(),
        "valid_when_killed": valid,
        "same_in_the_end": same,
        "rows_when_killed": kept,
        # Each image is a file that is opened once; what was at work when killed, twice.
        "images_read_again": again,
    }


MEASURES: Final[dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]]] = {
    "rate": rate,
    "memory": memory,
    "kills": kills,
}


def _in_turn(
    ways: dict[str, Callable[[], float]], rounds: int, base: str, other: str, images: int
) -> dict[str, Any]:
    times_s: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in list(ways) if turn % 2 == 0 else list(reversed(ways)):
            before_s = _cpu_s()
            times_s[name].append(round(ways[name](), 2))
            cpu_s[name].append(round(_cpu_s() - before_s, 2))
    spent_s = {name: statistics.median(spent) for name, spent in cpu_s.items()}
    medians = {name: statistics.median(times) for name, times in times_s.items()}
    return {
        "images": images,
        "workers": usable_cores(),
        "seconds": times_s,
        "images_per_s": {name: round(images / median, 1) for name, median in medians.items()},
        "ratio": round(medians[base] / medians[other], 3),
        # All that was started and has ended: on a machine that others use too, this one holds.
        "cpu_seconds": cpu_s,
        "cpu_ratio": round(spent_s[base] / spent_s[other], 3),
    }


def _cpu_s() -> float:
    """Return what all processes that were started here and have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _limit(images: Path, model: Path, folder: Path) -> float:
    names = sorted(str(path) for path in images.iterdir())
    workers = usable_cores()
    started_s = time.monotonic()
    processes = []
    for place in range(workers):
        share = folder / f"share{place}"
        share.write_text("\n".join(names[place::workers]))
        processes.append(
            subprocess.Popen([sys.executable, "-c", LIMIT_PROGRAM, str(model), str(share)])
        )
    for process in processes:
        if process.wait() != 0:
            raise RuntimeError("limit: expected it to end well, got an error.")
    return time.monotonic() - started_s


def start(images: Path, out: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the command on a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.score_folder", str(images), "--out", str(out), *words],
        cwd=ROOT, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _score(images: Path, out: Path) -> float:
    """Run the command to its end; a finished output is removed, an unfinished run taken up."""
    if not out.with_name(f".{out.name}.run").exists():
        out.unlink(missing_ok=True)
    started_s = time.monotonic()
    status = start(images, out).wait()
    if status != 0:
        raise RuntimeError(f"score_folder: expected exit status 0, got {status}.")
    return time.monotonic() - started_s


def make_images(folder: Path, count: int, photograph_every: int = 1) -> Path:
    """Make a folder of links to a few JPEG files of 0.2 megapixels, and to empty ones between."""
    originals, images = folder / "originals", folder / "images"
    originals.mkdir()
    images.mkdir()
    (originals / SMALL).write_bytes(make(SMALL))
    with Image.open(originals / SMALL) as picture:
        for place in range(DISTINCT):
            turned = picture.transpose(Image.Transpose(place % 2))
            turned.save(originals / f"{place}.jpg", quality=92 - place % 5)
    for place in range(count):
        photograph = originals / f"{place // photograph_every % DISTINCT}.jpg"
        empty = originals / f"empty{place % DISTINCT}.jpg"
        empty.touch()  # a file has room for some ten thousand links
        # Hard ones, so that each is opened under its own name: see `Opened`.
        (images / f"{place:07}.jpg").hardlink_to(
            photograph if place % photograph_every == 0 else empty
        )
    return images


def _model(folder: Path) -> Path:
    from scripts.batch import model

    return model.open_model(model.SHIPPED, "cpu", folder / "model").folder


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
