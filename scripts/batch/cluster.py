"""
The same on Ray: names go to the machines of a cluster, rows come back; Ray Data does the rest.

An actor holds one worker process and nothing else, so a hang, a crash and a rotten file cost what
they cost on one machine. Listing, journal, output and resumption stay with the driver. Why files
are read by the actor: docs/decisions/0035-ray-reads-names.md.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from console.paths import ROOT
from scripts.batch import ray_session
from scripts.batch.pool import Entry, WorkerPool
from scripts.batch.rows import Row
from scripts.batch.worker import Settings
from scripts.server.cores import usable_cores

BATCH_TO_WORKER: Final = 4


class Scorer:
    """
    What runs in an actor.

    Args:
        settings: Of its worker; folders are named as in the code that Ray brought here.
        limit_s: How long one image may take.

    Raises:
        ValueError: The model is refused on this machine.
        RuntimeError: The worker ends before it is ready, again and again.
    """

    def __init__(self, settings: Settings, limit_s: float) -> None:
        here = replace(settings, model=str(ROOT / settings.model), code=str(ROOT / settings.code))
        self._pool = WorkerPool(here, 1, BATCH_TO_WORKER, limit_s)
        self._facts = self._pool.facts()

    def facts(self) -> dict[str, Any]:
        """See `WorkerPool.facts`."""
        return self._facts

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
        folder: Emptied, and filled with what the machines of a cluster need: code and model.

    Raises:
        ValueError: Ray is not installed.
        ConnectionError: There is no cluster at the address, or it refuses this command.
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
        ray_session.expect_installed()
        self._batch_size = batch_size
        self._limit_s = limit_s
        self._n_actors = n_actors
        # On a CPU the model is tried here, while Ray starts; a GPU may be on other machines alone.
        self._trial = (
            WorkerPool(settings, 1, BATCH_TO_WORKER, limit_s)
            if settings.runtime == "openvino"
            else None
        )
        try:
            self._settings = ray_session.join(address, settings, n_actors or usable_cores(), folder)
        except BaseException:
            self._close_trial()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        self._close_trial()
        ray.shutdown()

    def facts(self) -> dict[str, Any]:
        """
        Ask one worker.

        Raises:
            ValueError: The model is refused.
            RuntimeError: It cannot be opened on the cluster.
        """
        if self._trial is not None:
            facts = self._trial.facts()
            self._close_trial()
            return facts
        import ray

        actor = ray.remote(Scorer).options(**self._needs()).remote(self._settings, self._limit_s)
        with _explained():
            facts = ray.get(actor.facts.remote())
        ray.kill(actor)
        return facts

    def score(self, entries: Iterator[Entry]) -> Iterator[tuple[int, Row]]:
        """
        Score images; rows come by batches as they are done, not in order.

        Raises:
            RuntimeError: The cluster gave up, or the model cannot be opened there.
        """
        import pyarrow as pa
        import ray.data

        self._close_trial()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # Standard error is for this command's own lines.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
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
        with _explained():
            for block in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
                for text in block["row"]:
                    index, row = json.loads(text.as_py())
                    yield index, row

    def _close_trial(self) -> None:
        if self._trial is not None:
            self._trial.close()
            self._trial = None

    def _needs(self) -> dict[str, float]:
        return {"num_cpus": 1, "num_gpus": 1 if self._settings.runtime == "torch" else 0}


def _entry(text: str) -> Entry:
    index, name = json.loads(text)
    return index, name


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Make one line of an error of Ray, which is a page long and ends with its cause."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise RuntimeError(
            f"--ray: expected the cluster to score, got: {cause}. The machines need what is in "
            f"{ray_session.REQUIREMENTS}; --debug shows all of it. The same command goes on."
        ) from error
