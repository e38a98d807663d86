"""
Decode thousands of changed pictures and look for whatever is neither a result nor a refusal.

    python -m tests.attack.fuzz [--runs 20000] [--seed 0] [--jobs 2] [--folder build/fuzz]
    python -m tests.attack.fuzz --only heic --folder build/fuzz-heic
    python -m tests.attack.fuzz --file build/fuzz/findings/NAME

Files that run lines of Python which none ran before are kept in FOLDER/corpus and changed again,
also by the next call. Exit status 1: something was found; it lies in FOLDER/findings, each with
the reason beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import signal
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

from tests.attack import trial
from tests.attack.broken import BROKEN
from tests.attack.disguises import DISGUISES
from tests.attack.heif_corpus import HEIF_BROKEN
from tests.attack.trial import Bounds
from tests.odd_inputs import ODD_INPUTS

ROOT: Final = Path(__file__).parents[2]
MAX_FINDINGS: Final = 10
MAX_SEED_BYTES: Final = 60_000
SAY_EVERY_S: Final = 5.0
HUNG_S: Final = 60.0  # without a word: the limits did not end it


def main(argv: list[str] | None = None) -> int:
    """Run the fuzzer."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=20_000, help="files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the changes (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "fuzz",
        help="of the corpus and the findings (default: build/fuzz)",
    )  # fmt: skip
    parser.add_argument(
        "--cpu-s", type=float, default=Bounds.cpu_s,
        help="seconds of processor time that one file may take (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--only", default="", metavar="WORD",
        help="start from pictures with this word in their name, such as avif (default: from all)",
    )  # fmt: skip
    parser.add_argument("--file", type=Path, help="judge this file alone: one that was found")
    arguments = parser.parse_args(argv)
    if arguments.runs < 1 or arguments.jobs < 1 or arguments.cpu_s <= 0:
        parser.error("--runs, --jobs and --cpu-s: expected more than 0.")
    bounds = Bounds(cpu_s=arguments.cpu_s)
    folder: Path = arguments.folder
    if arguments.file is not None:
        return _judge_one(arguments.file, folder, bounds)
    seeds = default_seeds(arguments.only)
    if not seeds:
        parser.error(f"--only: expected a word in the name of a test picture, got {arguments.only}")
    hunt = Hunt(folder, arguments.seed, bounds, seeds)
    hunt.run(arguments.runs, arguments.jobs)
    print(hunt.summary(), flush=True)
    return 1 if hunt.findings else 0


def default_seeds(word: str = "") -> list[bytes]:
    """Return the small ones of the test pictures, or of those with a word in their names."""
    pictures = {**ODD_INPUTS, **BROKEN, **DISGUISES, **HEIF_BROKEN}
    return [
        odd.body
        for name, odd in pictures.items()
        if word in name and 0 < len(odd.body) <= MAX_SEED_BYTES
    ]


@dataclass
class Job:
    """A child, and which of its runs it has told of."""

    process: SpawnProcess
    told: Connection
    current: Path
    indices: range
    done: int = 0
    lines: int = 0
    heard_s: float = field(default_factory=time.monotonic)


class Hunt:
    """
    A number of children, each with its share of the runs, started anew after each finding.

    Args:
        folder: Corpus and findings.
        seed: See `trial.run`.
        bounds: Of each file.
        seeds: Files to start from.
        corpus: Folder of those that ran new lines.
    """

    def __init__(
        self, folder: Path, seed: int, bounds: Bounds, seeds: list[bytes], corpus: str = "corpus"
    ) -> None:
        self._corpus, self._findings = folder / corpus, folder / "findings"
        for path in (self._corpus, self._findings):
            path.mkdir(parents=True, exist_ok=True)
        self._folder, self._seed, self._bounds, self._seeds = folder, seed, bounds, seeds
        self._context = multiprocessing.get_context("spawn")
        self._finished = 0
        self._lines = 0
        self._begin_s = time.monotonic()
        self.findings: list[Path] = []

    def run(self, runs: int, jobs: int) -> None:
        """Judge seeds and corpus, then do all runs, or until too much is found."""
        living = [self._start(job, range(job, runs, jobs)) for job in range(jobs)]
        said_s = time.monotonic()
        try:
            while living and len(self.findings) < MAX_FINDINGS:
                wait([job.told for job in living], timeout=1.0)
                living = [again for job in living for again in self._look(job)]
                if time.monotonic() - said_s > SAY_EVERY_S:
                    print(self.summary(living), flush=True)
                    said_s = time.monotonic()
        finally:
            for job in living:
                job.process.kill()
                job.process.join()

    def summary(self, living: list[Job] | None = None) -> str:
        """Return one line of numbers."""
        runs = self._finished + sum(job.done for job in living or [])
        per_s = runs / max(time.monotonic() - self._begin_s, 1e-9)
        kept = sum(1 for _ in self._corpus.iterdir())
        return (
            f"{runs} runs, {per_s:.0f}/s, {self._lines} lines reached, {kept} files kept, "
            f"{len(self.findings)} findings"
        )

    def _start(self, number: int, indices: range) -> Job:
        here, there = self._context.Pipe(duplex=False)
        current = self._folder / f"current-{number}"
        process = self._context.Process(
            target=trial.run,
            args=(there, self._seeds, self._corpus, current, indices, self._seed, self._bounds),
            daemon=True,
        )
        process.start()
        there.close()
        return Job(process=process, told=here, current=current, indices=indices)

    def _look(self, job: Job) -> list[Job]:
        """Hear a child; return it, the one that follows it, or nothing where it is done."""
        problem = None
        try:
            while job.told.poll():
                job.done, job.lines, problem = job.told.recv()
                self._lines = max(self._lines, job.lines)
                job.heard_s = time.monotonic()
                if problem:
                    break
        except EOFError:
            job.process.join()
            if job.process.exitcode == 0:
                self._finished += len(job.indices)
                return []
            problem = self._cause(job.process.exitcode)
        if problem is None and time.monotonic() - job.heard_s > HUNG_S:
            problem = f"no word for {HUNG_S:g} s"
        if problem is None:
            return [job]
        job.process.kill()
        job.process.join()
        self._save(job.current, problem)
        # A child tells of its runs twice a second only: some are done again.
        self._finished += job.done
        rest = job.indices[job.done + 1 :]
        return [self._start(int(job.current.name.split("-")[1]), rest)] if rest else []

    def _cause(self, status: int | None) -> str:
        if status == -signal.SIGPROF:
            return f"more than {self._bounds.cpu_s:g} s of processor time"
        return f"the process ended with {status}"

    def _save(self, current: Path, problem: str) -> None:
        body = current.read_bytes()
        path = self._findings / hashlib.sha256(body).hexdigest()[:16]
        path.write_bytes(body)
        repeat = f"python -m tests.attack.fuzz --file {path}"
        path.with_suffix(".txt").write_text(f"{problem}\nAgain: {repeat}\n")
        self.findings.append(path)
        print(f"found: {problem.strip().splitlines()[-1]}\n  {repeat}", flush=True)


def _judge_one(path: Path, folder: Path, bounds: Bounds) -> int:
    """Judge a file in a child, as the hunt does."""
    hunt = Hunt(folder, 0, bounds, [path.read_bytes()], corpus="none")
    hunt.run(0, 1)
    print(f"{path}: {'found again' if hunt.findings else 'a result, or a refusal'}", flush=True)
    return 1 if hunt.findings else 0


if __name__ == "__main__":
    sys.exit(main())
