"""
The same on Ray: names go to the machines of a cluster, rows come back; Ray Data does the rest.

An actor holds one worker process and nothing else, so a hang, a crash and a rotten file cost what
they cost on one machine. Listing, journal, output and resumption stay with the driver. Why files
are read by the actor: docs/decisions/0035-ray-reads-names.md.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from console.paths import ROOT
from scripts.batch.pool import Entry, WorkerPool
from scripts.batch.rows import Row
from scripts.batch.worker import Settings
from scripts.server.cores import usable_cores

LOCAL: Final = "local"
OBJECT_STORE_BYTES: Final = 200 * 1024 * 1024
"""Of a Ray that is started here: names and rows are small, and the default is a third of the
machine's memory."""
REQUIREMENTS: Final = "scripts/batch/requirements.txt"
PACKAGES: Final = ("console", "scripts")
BATCH_TO_WORKER: Final = 4


class Scorer:
    """
    What runs in an actor.

    Args:
        settings: Of its worker; folders are named as in the code that Ray brought here.
        limit_s: How long one image may take.
    """

    def __init__(self, settings: Settings, limit_s: float) -> None:
        here = replace(settings, model=str(ROOT / settings.model), code=str(ROOT / settings.code))
        self._pool = WorkerPool(here, 1, BATCH_TO_WORKER, limit_s)

    def facts(self) -> dict[str, Any]:
        """See `WorkerPool.facts`."""
        return self._pool.facts()

    def __call__(self, batch: Any) -> Any:
        """Score a block: a column `entry` of JSON in, a column `row` of JSON out."""
        import pyarrow as pa

        entries = (_entry(text.as_py()) for text in batch["entry"])
        rows = [json.dumps(scored) for scored in self._pool.score(entries)]
        return pa.table({"row": rows})


class Cluster:
    """
    A Ray cluster, joined or started here; see `scripts.batch.run.Scorers`.

    Args:
        address: `local`, `auto`, or what `ray.init` takes.
        settings: Of the workers, with this machine's folders.
        batch_size: Images of one task; what is done again where a machine is lost.
        limit_s: How long one image may take.
        n_actors: At most; None for as many as the cluster has cores, or gets.
        folder: Emptied, and filled with what the machines need: code and model.

    Raises:
        ValueError: Ray is not installed.
        ConnectionError: There is no cluster at the address.
    """

    def __init__(
        self,
        address: str,
        settings: Settings,
        batch_size: int,
        limit_s: float,
        n_actors: int | None,
        folder: Path,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no statistics of use
        try:
            import ray
        except ImportError as error:
            raise ValueError(
                f"--ray: expected the package ray, got: {error}. Install what is pinned: "
                f"uv pip install --python .venv/bin/python -r {REQUIREMENTS}"
            ) from error
        self._settings = _pack(settings, folder)
        self._batch_size = batch_size
        self._limit_s = limit_s
        self._n_actors = n_actors
        started_here: dict[str, Any] = {
            "num_cpus": n_actors or usable_cores(),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
        ray.init(
            address=address,
            runtime_env={"working_dir": str(folder)},
            logging_level="WARNING",
            log_to_driver=False,
            **(started_here if address == LOCAL else {}),
        )

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def facts(self) -> dict[str, Any]:
        """
        Ask one actor.

        Raises:
            ValueError: The model is refused there.
        """
        import ray

        actor = ray.remote(Scorer).options(**self._needs()).remote(self._settings, self._limit_s)
        facts: dict[str, Any] = ray.get(actor.facts.remote())
        ray.kill(actor)
        return facts

    def score(self, entries: Iterator[Entry]) -> Iterator[tuple[int, Row]]:
        """Score images; rows come by batches as they are done, not in order."""
        import pyarrow as pa
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        blocks = []
        while batch := list(itertools.islice(entries, self._batch_size)):
            blocks.append(pa.table({"entry": [json.dumps(entry) for entry in batch]}))
        if not blocks:
            return
        cores = int(ray.cluster_resources().get("CPU", 1))
        first = min(self._n_actors or cores, cores, len(blocks))
        scored = ray.data.from_arrow(blocks).map_batches(
            Scorer,
            fn_constructor_args=(self._settings, self._limit_s),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=ray.data.ActorPoolStrategy(min_size=first, max_size=self._n_actors),
            **self._needs(),
        )
        for block in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            for text in block["row"]:
                index, row = json.loads(text.as_py())
                yield index, row

    def _needs(self) -> dict[str, float]:
        return {"num_cpus": 1, "num_gpus": 1 if self._settings.runtime == "torch" else 0}


def _entry(text: str) -> Entry:
    index, name = json.loads(text)
    return index, name


def _pack(settings: Settings, folder: Path) -> Settings:
    """Copy code and model into one folder, which Ray takes to every machine."""
    shutil.rmtree(folder, ignore_errors=True)
    no_caches = shutil.ignore_patterns("__pycache__", "golden")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=no_caches)
    shutil.copytree(settings.model, folder / "model", ignore=no_caches)
    if settings.code == settings.model:
        return replace(settings, model="model", code="model")
    shutil.copytree(Path(settings.code) / "iqa", folder / "code" / "iqa", ignore=no_caches)
    return replace(settings, model="model", code="code")
