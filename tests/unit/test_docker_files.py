"""What can be said of Dockerfile and docker-compose.yml without an engine."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.paths import ROOT

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
NAMES = sorted(SERVICES)
SITE_PACKAGES = site.getsitepackages()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def stage(name: str) -> str:
    """Return the instructions of one stage, without the comments."""
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    assert found is not None, name
    return re.sub(r"^\s*#.*\n", "", found.group(1), flags=re.M)


@pytest.mark.parametrize("name", NAMES)
def test_every_service_is_hardened(name: str) -> None:
    """No service may write its root, gain rights, or take the whole machine."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit"} <= set(service)
    assert not {"privileged", "network_mode", "pid", "ipc"} & set(service)
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))


def test_only_the_front_and_the_pages_are_published_and_on_loopback() -> None:
    """Management, metrics and the side-car have no port on the host."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"front", "mlflow", "prometheus", "grafana"}
    for ports in published.values():
        assert [port.split(":")[0:2] for port in ports] == [["${PUBLISH_ADDRESS", "-127.0.0.1}"]]
    # A container on these networks alone reaches nothing outside and is reached from nowhere.
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    inner = {name for name, mine in networks.items() if mine <= {"inside", "registry"}}
    assert inner == {"torchserve", "web", "sidecar", "register", "postgres"}


def test_what_clients_reach_does_not_reach_the_registry() -> None:
    """MLflow asks nobody for a password: of those near the server the side-car alone is with it."""
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    near = {name for name, mine in networks.items() if mine & networks["mlflow"]}
    assert near == {"mlflow", "sidecar", "register", "postgres"}


def test_the_server_holds_no_secret_and_cannot_write_the_store() -> None:
    """The serving container is told of no registry, and archives come to it read-only."""
    server = SERVICES["torchserve"]
    assert server["volumes"] == ["model-store:/app/model-store:ro"]
    words = " ".join(server["environment"])
    assert not re.search("MLFLOW|PASSWORD|SECRET|TOKEN|KEY", words)


def test_the_serving_image_runs_the_archive_s_code(tmp_path: Path) -> None:
    """What it has of `iqa` lies in no PYTHONPATH, which would be found before the archive's own."""
    for text in (stage("torchserve"), stage("base")):
        assert "PYTHONPATH" not in text
    copied = re.findall(r"^COPY (?!--)(handler.+)$", stage("torchserve"), re.M)
    assert copied == [
        "handler/iqa/__init__.py handler/iqa/errors.py handler/iqa/",
        "handler/iqa/tasks/ handler/iqa/tasks/",
        "handler/iqa/prediction_log/ handler/iqa/prediction_log/",
    ]
    archive = tmp_path / "archive"
    (archive / "iqa").mkdir(parents=True)
    (archive / "iqa" / "__init__.py").touch()
    program = "import iqa; print(iqa.__file__)"  # TorchServe puts an archive in PYTHONPATH
    done = run_in_stage("torchserve", program, tmp_path, PYTHONPATH=str(archive))
    assert Path(done.stdout.strip()).parent == archive / "iqa", done.stderr


@pytest.mark.parametrize(
    "name", ["torchserve", "front", "web", "mlflow", "sidecar", "sidecar-slim"]
)
def test_every_image_runs_without_rights_and_tells_its_health(name: str) -> None:
    """A user of its own, a health check, TERM to an init that hands it on."""
    instructions = stage(name)
    assert "\nUSER iqa\n" in instructions
    assert "HEALTHCHECK" in instructions
    assert instructions.rstrip().splitlines()[-1].strip().endswith("]"), "CMD in exec form"
    assert 'ENTRYPOINT ["tini", "--"]' in stage("base")
    assert "STOPSIGNAL SIGTERM" in stage("base")


@pytest.mark.parametrize(
    ("name", "imports"),
    [
        (
            "torchserve",
            "import scripts.serve, scripts.supervisor.supervisor; "
            "import scripts.supervisor.wait_until_idle",
        ),
        ("front", "import runpy; runpy.run_path('docker/front.py')"),
        ("web", "import web.api; web.api.app.openapi()"),
        ("score", "import runpy; runpy.run_path('docker/score.py'); import scripts.batch.worker"),
    ],
)
def test_an_image_of_chosen_files_has_what_they_import(
    name: str, imports: str, tmp_path: Path
) -> None:
    """The files that a stage copies, in a folder of their own, find each other."""
    done = run_in_stage(name, imports, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_serving_image_starts_without_a_front(tmp_path: Path) -> None:
    """It has no nginx and not the front's settings, so its environment says FRONT=0."""
    environment = dict(re.findall(r"^ENV (FRONT)=(\S+)$", stage("torchserve"), re.M))
    program = (
        "import scripts.serve as serve\n"
        "plan = serve._plan(serve._parser().parse_args(['--from-store']))\n"
        "print(plan.front, plan.ports.inference)"
    )
    done = run_in_stage("torchserve", program, tmp_path, **environment)
    assert (done.stdout, done.returncode) == ("None 8080\n", 0), done.stderr


SLIM = """
import runpy
runpy.run_path('docker/sidecar.py')
import scripts.deploy, scripts.rollout.follow_alias_process
import scripts.rollout.rollback, scripts.rollout.status
import scripts.supervisor.alias_archive
from scripts.archive import archives_in_registry
import sys
heavy = {'torch', 'openvino', 'pandas', 'PIL'}
print(archives_in_registry.is_source(), sorted(heavy & set(sys.modules)))
try:
    import torch
except ModuleNotFoundError:
    print('no torch')
for command in ('sync', 'rollback', 'status'):
    try:
        scripts.deploy.main([command, '--help'])
    except SystemExit as end:
        assert end.code == 0
"""


def test_the_slim_side_car_needs_what_its_lock_names_and_no_torch(tmp_path: Path) -> None:
    """Its files and its locked packages alone: all that a watch, a rollback and a status import."""
    packages, image = tmp_path / "packages", tmp_path / "image"
    packages.mkdir()
    lock = (ROOT / "docker" / "sidecar-slim" / "requirements.txt").read_text()
    names = re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.M)
    assert "torch" not in names
    for name in names:
        # The test's own environment has MLflow as a whole: its folder serves as skinny's.
        for file in importlib.metadata.distribution(name).files or ():
            top = file.parts[0]
            link = packages / top
            if top != ".." and not link.is_symlink():
                link.symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)
    environment = dict(re.findall(r"(IQA_ARCHIVES)=(\S+)", stage("sidecar-slim")))
    image.mkdir()
    done = run_in_stage("sidecar-slim", SLIM, image, packages=[str(packages)], **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["True []", "no torch"]


def run_in_stage(
    name: str,
    program: str,
    folder: Path,
    packages: Sequence[str] = tuple(SITE_PACKAGES),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """
    Run some Python in a folder of the files that a stage copies, without nginx on PATH.

    The packages are those of this environment, but for its `.pth` file: `iqa` is found where the
    image finds it, behind the packages.
    """
    for words in re.findall(r"^COPY (?!--)(.+)$", stage(name), re.M):
        *sources, target = words.split()
        for source in sources:
            into = folder / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, dirs_exist_ok=True)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, into)
    finds_iqa = "iqa-torchserve.pth" in stage(f"{name}-venv") or "/app/handler" in stage(name)
    last = [*packages, *([str(folder / "handler")] if finds_iqa else [])]
    return subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {last}\n{program}"], cwd=folder,
        env={"PYTHONPATH": str(folder), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_both_builders_understand_the_dockerfile() -> None:
    """The classic builder knows neither mounts nor here-documents."""
    assert not re.search(r"^\s*(RUN|COPY|ADD)\b.*(--mount|--link|<<)", DOCKERFILE, re.M)
    assert not re.search(r"^# *syntax=", DOCKERFILE, re.M)


def test_what_is_installed_is_locked() -> None:
    """Each pip install of a build asks for hashes, and each lock that it names is there."""
    assert "pip install" not in DOCKERFILE
    assert '"--require-hashes"' in (ROOT / "docker" / "install.py").read_text()
    for lock in re.findall(r"^COPY (\S+requirements\.txt)", DOCKERFILE, re.M):
        text = (ROOT / lock).read_text()
        pins = re.findall(r"^[A-Za-z0-9._-]+==", text, re.M)
        assert pins, lock
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text
