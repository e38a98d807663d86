"""What the tests of deployments do again and again."""

from __future__ import annotations

from console.paths import ROOT
from tests.deploying import Deployer, Load
from tests.server import RunningServer
from training.registry import model_versions

PICTURE = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
SECRET = "a secret of the tests"


def stage(version: str) -> None:
    """Let the alias name a version."""
    model_versions.move_alias("iqa", "staging", version, "test")


def serve(deploy: Deployer, *versions: str) -> None:
    """Bring the server to versions, one after the other, whatever a test before left."""
    for version in versions:
        stage(version)
        deploy.run("sync", "--retry", "--wait")


def settle(deploy: Deployer) -> str:
    """Let the alias name what is served, so that nothing of a test before is left; return it."""
    version = str(deploy.status()["served_version"])
    serve(deploy, version)
    return version


def with_a_way_back(deploy: Deployer) -> tuple[str, str]:
    """Settle with a version to go back to; return the served one and that."""
    if deploy.status()["previous_version"] is None:
        serve(deploy, "1", "3")
    return settle(deploy), str(deploy.status()["previous_version"])


def served(server: RunningServer) -> str:
    """Return the version that scores."""
    return str(server.score(PICTURE)["model"]["version"])


def loaded(server: RunningServer) -> set[str]:
    """Return the versions that TorchServe has."""
    return {entry["modelVersion"] for entry in server.manage("/all")}


def under_load(server: RunningServer, per_s: float = 10) -> Load:
    """Send one picture so often, meanwhile."""
    return Load(server.url("INFERENCE_PORT", "/predictions/iqa"), PICTURE, per_s)
