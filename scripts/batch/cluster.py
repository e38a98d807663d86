"""
The same on Ray: names go to the machines of a cluster, rows come back; Ray Data does the rest.

An actor holds one worker process and nothing else, so a hang, a crash and a rotten file cost what
they cost on one machine. Listing, journal, output and resumption stay with the driver. Why files
are read by the actor: docs/decisions/0035-ray-reads-names.md.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import logging
import os
import shutil
import socket
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
AUTO: Final = "auto"
CONNECT_S: Final = 10.0
OBJECT_STORE_BYTES: Final = 200 * 1024 * 1024
"""Of a Ray that is started here: names and rows are small, and the default is a third of the
machine's memory."""
ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would send them
    # It calls it an error that an actor's arguments may be lost: they lie with the driver here.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
REQUIREMENTS: Final = "scripts/batch/requirements.txt"
PACKAGES: Final = ("console", "scripts")
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
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if importlib.util.find_spec("ray") is None:
            raise ValueError(
                "--ray: expected the package ray, got none. Install what is pinned: "
                f"uv pip install --python .venv/bin/python -r {REQUIREMENTS}"
            )
        _say_less("ray._private.authentication")
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
            self._settings = _join(address, settings, n_actors or usable_cores(), folder)
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
        _say_less("ray.data")
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


def _join(address: str, settings: Settings, n_cores: int, folder: Path) -> Settings:
    """Start a Ray here or join one; return the settings as its machines see them."""
    import ray

    if address == LOCAL:
        # The machines are this one: they have code and model already.
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        ray.init(
            address=LOCAL, num_cpus=n_cores, object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False, logging_level="WARNING", log_to_driver=False,
        )  # fmt: skip
        return settings
    if address != AUTO:
        _expect_open(address)
    packed = _pack(settings, folder)
    try:
        ray.init(
            address=address, runtime_env={"working_dir": str(folder)}, logging_level="WARNING",
            log_to_driver=False,
        )  # fmt: skip
    except ConnectionError as error:
        raise _no_cluster(address, error) from error
    return packed


def _expect_open(address: str) -> None:
    """Knock: Ray itself knocks for ten minutes before it says that nobody is there."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--ray: expected local, auto or HOST:PORT, got {address!r}.")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConnectionError:
    got = str(error).rstrip(".")
    return ConnectionError(
        f"--ray {address}: expected a Ray cluster, got: {got}. Start one (ray start --head), or "
        "give the address that it printed, HOST:PORT."
    )


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Make one line of an error of Ray, which is a page long and ends with its cause."""
    import ray

    try:
        yield
    except (ray.exceptions.RayError, ray.exceptions.RayTaskError) as error:
        cause = str(error).strip().splitlines()[-1].strip()
        raise RuntimeError(
            f"--ray: expected the cluster to score, got: {cause}. The machines need what is in "
            f"{REQUIREMENTS}; --debug shows all of it. The same command goes on."
        ) from error


def _say_less(logger_name: str) -> None:
    """Leave out what Ray tells of itself: standard error is for this command's own lines."""
    logging.getLogger(logger_name).setLevel(logging.ERROR)


def _entry(text: str) -> Entry:
    index, name = json.loads(text)
    return index, name


def _join(address: str, settings: Settings, n_cores: int, folder: Path) -> Settings:
    """Start a Ray here or join one; return the settings as its machines see them."""
    import ray

    if address == LOCAL:
        # The machines are this one: they have code and model already.
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        ray.init(
            address=LOCAL, num_cpus=n_cores, object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False, logging_level="WARNING", log_to_driver=False,
        )  # fmt: skip
        return settings
    if address != AUTO:
        _expect_open(address)
    packed = _pack(settings, folder)
    try:
        ray.init(
            address=address, runtime_env={"working_dir": str(folder)}, logging_level="WARNING",
            log_to_driver=False,
        )  # fmt: skip
    except ConnectionError as error:
        raise _no_cluster(address, error) from error
    return packed


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn an error of Ray, a page long, into a line."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"--ray: GOT {error!r}") from error


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
