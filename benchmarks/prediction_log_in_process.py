"""
What the prediction log costs the handler, without a server and its noise.

    python -m benchmarks.prediction_log_in_process [--images 50] [--rounds 20]

One process answers with the served model, and counts the CPU time that goes into the log: digest
and row in the thread that answers, and all of the thread that writes. Writes
`prediction_log_in_process.json` and `.md`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any, Final

from prediction_log import PredictionLog
from telemetry import Item
from tqdm import tqdm
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from benchmarks import record
from benchmarks.bench import served_archive
from benchmarks.prediction_log_cost import ratio
from benchmarks.report_tables import table
from benchmarks.sent_pictures import SMALL, make
from console import command_line
from console.paths import ROOT
from iqa_handler import IQAHandler
from scripts.prediction_log.reading import rows_of
from scripts.server.prediction_log import VARIABLE

WRITTEN_S: Final = 0.7
"""In this time the thread has written what waited: it looks twice a second."""


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    name = "prediction_log_in_process"
    parser = record.parser_of(name, __doc__, "reliability")
    parser.add_argument("--images", type=int, default=50, help="a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        with redirect_stdout(io.StringIO()):  # the metrics, for TorchServe
            rounds = measure(arguments.images, arguments.rounds, arguments.out / name)
        return record.keep(arguments.out, name, {"rounds": rounds}, as_table(rounds))

    return command_line.run(command, arguments.debug)


def measure(images: int, rounds: int, folder: Path) -> list[dict[str, float]]:
    """
    Return CPU milliseconds an image of each round: `log_ms` for the log, `rest_ms` for the rest.

    Args:
        images: Of a round.
        rounds: Measured; one more goes before them.
        folder: Emptied, and filled with the unpacked archive and the log.

    Raises:
        RuntimeError: An image was not scored, or has no row.
    """
    shutil.rmtree(folder, ignore_errors=True)
    model, log = folder / "model", folder / "log"
    log.mkdir(parents=True)
    with zipfile.ZipFile(served_archive()) as archive:
        archive.extractall(model)
    os.environ[VARIABLE] = str(log)
    handler, context = _loaded(model)
    (writer,) = (thread for thread in threading.enumerate() if thread.name == "prediction-log")
    assert writer.ident is not None
    writer_clock = time.pthread_getcpuclockid(writer.ident)
    timed = Timed(handler._predictions)
    handler._predictions = timed  # type: ignore[assignment]  # it is asked for these two alone
    body, found = make(SMALL), []
    for _ in tqdm(range(rounds + 1), unit="round"):
        timed.used_s, started_s = 0.0, time.thread_time()
        writer_s = time.clock_gettime(writer_clock)
        for _ in range(images):
            _answer(handler, context, body)
        used_s = time.thread_time() - started_s
        time.sleep(WRITTEN_S)
        log_s = timed.used_s + time.clock_gettime(writer_clock) - writer_s
        found.append({
            "log_ms": 1000 * log_s / images, "rest_ms": 1000 * (used_s - timed.used_s) / images,
        })  # fmt: skip
    n_rows = sum(1 for _ in rows_of(log))
    if n_rows != images * (rounds + 1):
        raise RuntimeError(f"log: expected {images * (rounds + 1)} rows, got {n_rows}.")
    return found[1:]  # the first one warms up


class Timed:
    """A prediction log that counts the CPU time of the thread that asks it, `used_s`."""

    def __init__(self, log: PredictionLog) -> None:
        self._log, self.used_s = log, 0.0

    def digest_of(self, body: bytes) -> str | None:
        """See `PredictionLog`."""
        with self._counted():
            return self._log.digest_of(body)

    def record(self, items: Iterable[Item], elapsed_s: float, context: Any) -> None:
        """See `PredictionLog`."""
        with self._counted():
            self._log.record(items, elapsed_s, context)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        started_s = time.thread_time()
        yield
        self.used_s += time.thread_time() - started_s


def as_table(rounds: list[dict[str, float]]) -> str:
    """Return the medians, and the log's share of the rest with its 95 % interval, as Markdown."""
    log_ms, rest_ms = ([one[key] for one in rounds] for key in ("log_ms", "rest_ms"))
    share, low, high = ratio(log_ms, rest_ms)
    return table(
        ["CPU, ms an image", "for the log", "for the rest", "share"],
        [["", f"{median(log_ms):.3f}", f"{median(rest_ms):.2f}",
          f"{share:.2%} ({low:.2%} to {high:.2%})"]],
    )  # fmt: skip


def _loaded(model: Path) -> tuple[IQAHandler, Context]:
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    context = Context("iqa", str(model), {}, 1, None, "", True, metrics, {"handler": {}})
    handler = IQAHandler()
    handler.initialize(context)
    return handler, context


def _answer(handler: IQAHandler, context: Any, body: bytes) -> None:
    context.request_ids = {0: "one"}
    context.request_processor = [RequestProcessor({"Content-Type": "image/jpeg"})]
    reply = json.loads(handler.handle([{"body": body}], context)[0])
    if "score" not in reply:
        raise RuntimeError(f"reply: expected a score, got {reply}.")


if __name__ == "__main__":
    sys.exit(main())
