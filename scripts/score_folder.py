"""Score many images without a server: folders, lists, object stores; one row an image."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from console import command_line
from scripts.batch import listing, model, run, source
from scripts.batch.pool import WorkerPool, log_of
from scripts.batch.rows import PASSING
from scripts.batch.run_folder import Place, reserved
from scripts.server.cores import usable_cores

logger = logging.getLogger(__name__)

EXAMPLES = """
examples:
  python -m scripts.score_folder photographs --out scores.csv
  python -m scripts.score_folder 'photographs/**/*.jpg' more names.txt --out scores.parquet
  find . -name '*.png' | python -m scripts.score_folder - --out scores.jsonl
  python -m scripts.score_folder s3://bucket/photographs --out scores.csv    (needs s3fs)
  python -m scripts.score_folder photographs --out scores.csv --model staging
  python -m scripts.score_folder /shared/photographs --out scores.csv --ray auto

The order of the rows: inputs as given; of a folder its files by name, then its folders by name.
Stopped or killed, the same command goes on where it was. On a finished output it scores what has
no row yet, and tries again what was unreadable, timed out or crashed.

exit status: 0 each image has its row; 1 failed, or some were unreadable, timed out or crashed;
2 wrong usage; 130 interrupted, to be taken up by the same command.
"""
BATCH_OF_DEVICE = {"cpu": 4, "cuda": 32}
BATCH_ON_RAY = 32
LIMIT_S = 30.0


def main(argv: list[str] | None = None) -> int:
    """Score from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.inputs += arguments.input_path
    if not arguments.inputs:
        parser.error("expected at least one INPUT, got none: a folder, files, names.txt, or -")
    for option in ("workers", "batch_size", "limit_s"):
        value = getattr(arguments, option)
        if value is not None and not value > 0:
            parser.error(f"--{option.replace('_', '-')}: expected a number above 0, got {value}")
    if source.is_remote(arguments.out):
        parser.error(
            f"--out: expected a file of this machine or of a drive of it, got {arguments.out}. "
            "Write it here, then copy it there"
        )
    arguments.out = Path(arguments.out)
    command_line.Interruption(signal.SIGTERM)  # `docker stop`: like Ctrl-C
    return command_line.run(lambda: _score(arguments), arguments.debug)


def _score(arguments: argparse.Namespace) -> int:
    for name in ("aiobotocore", "botocore"):  # they say where they found their credentials
        logging.getLogger(name).setLevel(logging.WARNING)
    place = Place(output=arguments.out)
    with reserved(place, arguments.resume):
        chosen = model.open_model(
            arguments.model, arguments.device, place.folder / "model",
            model_name=arguments.model_name, store=arguments.model_store,
        )  # fmt: skip
        summary = run.run(
            place, arguments.inputs, arguments.all_files, chosen, arguments.resume,
            _scorers(arguments, chosen, place),
        )  # fmt: skip
    if summary.scored:
        logger.info(
            "%s: %d rows, %d of them new, %.1f images a second",
            arguments.out, summary.rows, summary.scored, summary.rate_per_s,
        )  # fmt: skip
    else:
        logger.info("%s: %d rows, nothing to do", arguments.out, summary.rows)
    for reason, count in sorted(summary.reasons.items()):
        logger.info("  %d not scored: %s", count, reason)
    again = sum(count for reason, count in summary.reasons.items() if reason in PASSING)
    if again:
        logger.info("The same command tries %d of these again.", again)
    return command_line.FAILED if again else 0


def _scorers(
    arguments: argparse.Namespace, chosen: model.Model, place: Place
) -> Callable[[], AbstractContextManager[run.Scorers]]:
    """Return what starts the workers: here, or on a cluster."""
    root, _ = listing.root_of(arguments.inputs)
    settings = chosen.settings(root, arguments.device)
    if arguments.ray:
        from scripts.batch import cluster

        return lambda: cluster.Cluster(
            arguments.ray, settings, arguments.batch_size or BATCH_ON_RAY, arguments.limit_s,
            arguments.workers, place.folder / "ray",
        )  # fmt: skip
    if arguments.device == "cuda" and importlib.util.find_spec("torch") is None:
        raise ValueError(
            "--device cuda: expected the package torch, got none. Install "
            "torchserve/requirements.txt, or score on the CPU: --device cpu."
        )
    return lambda: WorkerPool(
        settings,
        arguments.workers or usable_cores(),
        arguments.batch_size or BATCH_OF_DEVICE[arguments.device],
        arguments.limit_s,
        log_of(place.folder),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.score_folder",
        description="Score many images without a server: one row an image, with its score or with "
        "the reason why it has none. The scores are those that the server would give.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT",
        help="folder (with its folders), file, pattern in quotes, names.txt with a name a line, - "
        "for names on standard input, or an address (s3://...)",
    )  # fmt: skip
    parser.add_argument(
        "--input_path", "--input-path", action="append", default=[], metavar="INPUT",
        help="the same, as an option",
    )  # fmt: skip
    parser.add_argument(
        "--out", "--output_path", "--output-path", required=True, metavar="FILE",
        help="the rows: a file that ends in .csv, .parquet or .jsonl",
    )  # fmt: skip
    parser.add_argument(
        "--model", default=model.SHIPPED, metavar="MODEL",
        help="an archive (FILE.mar), an alias of the registry such as staging, or shipped, the "
        "model in this checkout (default: %(default)s). An archive is a program: take it from "
        "where you would take one",
    )  # fmt: skip
    parser.add_argument(
        "--model-name", default="iqa", help="registered model of the alias (default: %(default)s)"
    )
    parser.add_argument(
        "--model-store", type=Path, metavar="DIR",
        help="folder of archives, for an alias (default: model-store)",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=sorted(model.RUNTIME_OF_DEVICE), default="cpu",
        help="cuda needs torch, and an archive built with --precision f32 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", "--batch_size", type=int, metavar="N",
        help="images handed to a worker together; on a GPU they are judged together "
        f"(default: {BATCH_OF_DEVICE['cpu']}, on cuda {BATCH_OF_DEVICE['cuda']}, on Ray "
        f"{BATCH_ON_RAY}). No score depends on it on a CPU",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, metavar="N",
        help="processes, a core each (default: the cores that this process may use; on Ray: as "
        "many as the cluster has, or gets)",
    )  # fmt: skip
    parser.add_argument(
        "--limit-s", type=float, default=LIMIT_S, metavar="SECONDS",
        help="what one image may take, then it gets a row that says so and its worker is replaced "
        "(default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--all-files", action="store_true",
        help="take files of folders whatever they are called; without it only those that are "
        "called like an image",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True,
        help="go on where the output or an unfinished run has rows of the same model; another "
        "model is refused. --no-resume replaces the output (default: --resume)",
    )  # fmt: skip
    parser.add_argument(
        "--ray", metavar="local|ADDRESS",
        help="score on Ray: local starts one on this machine, auto or HOST:PORT joins a cluster. "
        "The inputs must lie where every machine sees them under the same name",
    )  # fmt: skip
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
