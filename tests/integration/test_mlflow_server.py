"""The registry behind a real MLflow tracking server, as a team would run it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from iqa.network import checkpoint

from console.paths import ROOT
from scripts.archive import archives_in_registry
from scripts.build_mar import main as build_mar
from scripts.rollout.deployment_records import Records
from scripts.server.state import StateDir
from scripts.supervisor.alias_archive import NoArchive, served_archive
from tests.ports import free_port
from training.registry import address, model_versions, promotion, tracking


@pytest.fixture
def tracking_server(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """`mlflow server` with a database and artifacts of its own; its address, connected."""
    shutil.copyfile(empty_store, tmp_path / "server.db")
    port = str(free_port())
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port,
                "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}",
                "--artifacts-destination", str(tmp_path / "artifacts"), "--workers", "1",
            ],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{uri}/health", tmp_path / "server.log")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        address.connect()
        tracking.select_experiment("tests")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(log.read_text())


def test_a_version_goes_through_a_tracking_server_into_an_archive(
    tracking_server: str, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Register, move the alias, build, publish, take: nothing but the server is shared."""
    assert tracking_server
    records = Records(state=StateDir.at(tmp_path / "state"), model_name="iqa")
    with pytest.raises(ValueError, match="alias 'staging' of model 'iqa': expected"):
        served_archive("iqa", "staging", tmp_path, records)  # a shared registry is left as it is
    with mlflow.start_run():
        promotion.register("iqa", None, untrained, checkpoint.load_card(untrained))
    model_versions.move_alias("iqa", "staging", "1", "test")
    folder = model_versions.download("iqa", "1", tmp_path / "out")
    weights = checkpoint.WEIGHTS_FILE
    assert (folder / weights).read_bytes() == (untrained / weights).read_bytes()
    store = tmp_path / "store"
    assert build_mar(["--alias", "staging", "--out", str(store), "--publish"]) == 0
    assert served_archive("iqa", "staging", store, records) == store / "iqa-1.mar"

    # Another machine, without torch, takes the published bytes; altered ones it refuses.
    monkeypatch.setenv(archives_in_registry.VARIABLE, archives_in_registry.REGISTRY)
    replica = tmp_path / "replica"
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    program = (
        "import sys; from pathlib import Path; "
        "from scripts.rollout.deployment_records import Records; "
        "from scripts.server.state import StateDir; "
        "from scripts.supervisor.alias_archive import served_archive; "
        "records = Records(state=StateDir.at(Path(sys.argv[2])), model_name='iqa'); "
        "print(served_archive('iqa', 'staging', Path(sys.argv[1]), records))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(replica), str(tmp_path / "replica-state")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (replica / "iqa-1.mar").read_bytes() == (store / "iqa-1.mar").read_bytes()
    (artifact,) = (tmp_path / "artifacts").rglob("iqa-1.mar")
    artifact.write_bytes(artifact.read_bytes()[:-1])
    empty = tmp_path / "empty"
    with pytest.raises(NoArchive, match="expected sha256"):
        served_archive("iqa", "staging", empty, records)
    assert not [*empty.glob("*.mar")]
    monkeypatch.setenv(archives_in_registry.VARIABLE, "elsewhere")
    with pytest.raises(NoArchive, match="IQA_ARCHIVES: expected registry or nothing"):
        served_archive("iqa", "staging", empty, records)
