"""
Prove an archive: `python -I scripts/archive/prove_scores.py FILE.mar`; build_mar runs it so.

The archive is unpacked and loaded as TorchServe's worker loads it. Proven: every file has the
digest that the provenance names, all code of `iqa` comes out of the archive and not from this
checkout, the golden pictures get the scores on record, alone and as a batch, and a bad picture
beside them gets its own 4xx. Imports TorchServe's worker classes and nothing of the project. The
proof is printed as JSON.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

METRICS = Path(__file__).resolve().parents[2] / "torchserve" / "metrics.yaml"
# Of a point. Float32: scores on record have 3 decimals, the rest is what arithmetic may differ by.
# Bfloat16 and int8 round to another neighbour when sums are added up in another order, as in a
# batch or on another CPU.
MAX_SCORE_DIFFERENCE = {"f32": 0.01, "bf16": 0.5, "int8": 1.0}


def main(argv: list[str]) -> int:
    """Prove one archive; exit status 1 and one line on stderr where it fails."""
    if len(argv) != 1 or argv[0].startswith("-"):
        print("usage: python -I scripts/archive/prove_scores.py FILE.mar", file=sys.stderr)
        return 0 if argv in (["--help"], ["-h"]) else 2
    try:
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(prove(Path(argv[0]).resolve(), Path(directory).resolve())))
    except Exception as error:
        print(f"{argv[0]}: not proven: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def prove(mar: Path, directory: Path) -> dict[str, Any]:
    """
    Unpack, load and score.

    Args:
        mar: The archive.
        directory: Empty; becomes the working directory.

    Returns:
        `answers`, a score or a label by golden file, `runtime`, `precision`, and `modules`, the
        number of modules that came out of the archive.

    Raises:
        ValueError: Something differs from what the provenance says.
    """
    with zipfile.ZipFile(mar) as archive:
        archive.extractall(directory)
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    provenance = json.loads((directory / "provenance.json").read_text())
    for name, expected in provenance["sha256"].items():
        got = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        if got != expected:
            raise ValueError(f"{name}: expected sha256 {expected}, got {got}.")
    context = _context(directory, str(provenance["model"]["name"]))
    handler = importlib.import_module("iqa_handler").IQAHandler()
    handler.initialize(context)
    modules = _modules_of_the_archive(directory)
    golden = provenance["golden"]
    bodies = [(directory / "golden" / item["file"]).read_bytes() for item in golden]
    rows = [{"body": bytearray(body)} for body in bodies]
    tasks = importlib.import_module("iqa.tasks.task")
    task = importlib.import_module("iqa.tasks.task_table").task_of(provenance)
    alone = [_handle(handler, [row], context)[0] for row in rows]
    max_difference = MAX_SCORE_DIFFERENCE[provenance["precision"]]
    *batch, refused = _handle(handler, [*rows, {"body": bytearray(b"no picture")}], context)
    statuses = [context.get_response_status(index)[0] for index in range(len(rows) + 1)]
    for expected, *replies in zip(golden, alone, batch, strict=True):
        for reply in replies:
            if (
                tasks.label_of(reply) is None
                or not task.difference(expected, reply) <= max_difference
            ):
                said = tasks.in_words
                raise ValueError(
                    f"{expected['file']}: expected {said(expected)}, got {said(reply)}: {reply}."
                )
    if refused.get("code") != 400 or statuses != [200] * len(rows) + [400]:
        raise ValueError(f"no picture: expected a reply with 400, got {refused}.")
    return {
        "answers": {
            item["file"]: reply.get("score", tasks.label_of(reply))
            for item, reply in zip(golden, alone, strict=True)
        },
        "runtime": handler._scorer.runtime.name,
        "precision": handler._scorer.runtime.precision,
        "modules": len(modules),
    }


def _context(directory: Path, model_name: str) -> Context:
    """Return what a worker hands to a handler: TorchServe's own classes, our configuration."""
    metrics = MetricsCacheYamlImpl(str(METRICS))
    metrics.initialize_cache()
    return Context(
        model_name=model_name,
        model_dir=str(directory),
        manifest={},
        batch_size=1,
        gpu=None,
        mms_version="",
        metrics=metrics,
        model_yaml_config=yaml.safe_load((directory / "model-config.yaml").read_text()),
    )


def _handle(handler: Any, rows: list[dict[str, Any]], context: Context) -> list[Any]:
    context.request_processor = [RequestProcessor({}) for _ in rows]
    return [json.loads(reply) for reply in handler.handle(rows, context)]


def _modules_of_the_archive(directory: Path) -> list[str]:
    modules = [name for name in sys.modules if name.split(".")[0] in ("iqa", "iqa_handler")]
    for name in modules:
        origin = Path(str(sys.modules[name].__file__)).resolve()
        if not origin.is_relative_to(directory):
            raise ValueError(f"module {name}: expected it inside the archive, got {origin}.")
    for name in ("training", "scripts", "mlflow"):
        if name in sys.modules:
            raise ValueError(f"module {name}: expected the archive to do without, got it imported.")
    return modules


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
