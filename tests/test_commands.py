"""What a machine can check of the commands: help pages, MLflow, the one list."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from console import listing
from console.paths import ROOT
from tests.commands import COMMANDS

HELP_PAGES = """
import contextlib, io, json, os, runpy, sys

def page_of(command):
    sys.argv = [command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as page:
        try:
            runpy.run_module(command, run_name="__main__", alter_sys=True)
            code = None
        except SystemExit as end:
            code = end.code
    return code, page.getvalue(), sorted({name.split(".")[0] for name in sys.modules})

def page_by_a_fork(command):
    reader, writer = os.pipe()
    if os.fork() == 0:
        with open(writer, "w") as file:
            json.dump(page_of(command), file)
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        return json.load(file)

pages = {}
for command in sorted(sys.argv[1:], key=lambda command: command.startswith("benchmarks.")):
    is_alone = not command.startswith("benchmarks.")
    pages[command] = page_by_a_fork(command) if is_alone else page_of(command)
print(json.dumps(pages))
"""
SLOW_TO_IMPORT = {
    "torch", "torchvision", "mlflow", "scipy", "matplotlib", "sklearn", "onnx", "openvino", "nncf",
}  # fmt: skip
"""Each takes a second or more."""


class HelpPage(NamedTuple):
    """What a command exits with, prints for --help, and has imported by then."""

    code: int
    text: str
    imported: list[str]


@pytest.fixture(scope="module")
def help_pages() -> dict[str, HelpPage]:
    """Of each command; the benchmarks in one process, so torch loads once."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-c", HELP_PAGES, *COMMANDS],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": f"{ROOT}:{ROOT / 'handler'}", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {command: HelpPage(*page) for command, page in json.loads(done.stdout).items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, help_pages: dict[str, HelpPage]) -> None:
    """--help exits 0 and names the command as it is called."""
    page = help_pages[command]
    assert page.code == 0, page.text
    name = "run_torchserve.sh" if command == "scripts.serve" else command
    assert name in page.text


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if not command.startswith("benchmarks.")]
)
def test_help_and_refused_options_wait_for_no_large_library(
    command: str, help_pages: dict[str, HelpPage]
) -> None:
    """A command imports what its work needs once its options are right."""
    assert SLOW_TO_IMPORT.isdisjoint(help_pages[command].imported)


def test_what_is_slow_to_import_is_seen(help_pages: dict[str, HelpPage]) -> None:
    """The benchmarks do import torch, and the list of a fork is not empty."""
    assert "torch" in help_pages["benchmarks.training_step"].imported
    assert "argparse" in help_pages["training.train"].imported


@functools.cache
def imported_names(path: Path) -> frozenset[str]:
    """Return what a file imports, wherever in it: modules, and the names taken from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def reaches_mlflow(command: str) -> bool:
    """Tell whether a command's module imports `connect`, itself or by what it imports."""
    seen, waiting = {command}, [command]
    while waiting:
        names = imported_names(ROOT / f"{waiting.pop().replace('.', '/')}.py")
        if any(name.endswith("registry.address.connect") for name in names):
            return True
        ours = {name for name in names if (ROOT / f"{name.replace('.', '/')}.py").is_file()}
        waiting += ours - seen
        seen |= ours
    return False


# A benchmark starts an MLflow of its own, and so does the demo, in commands of their own.
REACH_MLFLOW = [
    command
    for command in COMMANDS
    if not command.startswith("benchmarks.") and reaches_mlflow(command)
]


@pytest.mark.parametrize("command", REACH_MLFLOW)
def test_every_command_that_reaches_mlflow_takes_its_address(
    command: str, help_pages: dict[str, HelpPage]
) -> None:
    """--tracking-uri is in its help, in the words of the one function that adds it."""
    page = help_pages[command].text
    assert re.search(r"--tracking-uri URI\s+MLflow \[MLFLOW_TRACKING_URI\]", page), page


def test_the_commands_that_reach_mlflow_are_found() -> None:
    """The list above is derived; these are some that it must hold, by both ways of importing."""
    assert {"training.train", "training.evaluate", "scripts.deploy"} <= set(REACH_MLFLOW)
    assert {"scripts.serve", "scripts.score_reference", "scripts.build_mar"} <= set(REACH_MLFLOW)
    assert not {"training.demo_data", "scripts.score_image", "scripts.front"} & set(REACH_MLFLOW)
    assert reaches_mlflow("docker.sidecar")
    assert "command_line.add_tracking_uri(parser)" in (ROOT / "docker" / "sidecar.py").read_text()


def test_how_long_to_wait_for_mlflow_is_said_in_one_place() -> None:
    """Its variables for retries and timeouts are named in one file."""
    naming = {
        path.name
        for folder in ("training", "scripts", "docker", "handler")
        for path in (ROOT / folder).rglob("*.py")
        if "MLFLOW_HTTP_REQUEST" in path.read_text()
    }
    assert naming == {"address.py"}


def test_a_versions_files_are_had_in_one_way() -> None:
    """Only the registry's `download` turns a version into files: it says what else it may be."""
    naming = {
        path.name
        for folder in ("training", "scripts", "docker")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(
            r"download_artifacts\(\s*f?\"models:|load_model\(\s*f?\"models:", path.read_text()
        )
    }
    assert naming == {"model_versions.py"}


def test_the_list_of_commands_is_the_same_everywhere() -> None:
    """scripts/README.md shows what `python -m scripts` and `python -m training` print."""
    text = (ROOT / "scripts" / "README.md").read_text()
    listed = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", text, re.MULTILINE))
    wanted = {
        name: line
        for package in ("scripts", "training")
        for found in (listing.commands(package), listing.packages(package))
        for name, line in found.items()
    }
    assert listed == wanted
    for package in ("scripts", "training"):
        printed = subprocess.run(
            [sys.executable, "-m", package], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert all(f"python -m {name} " in printed for name in listing.commands(package))


def test_a_client_of_mlflow_names_its_registry_too() -> None:
    """Given its store alone, it asks the registry to which something else connected before."""
    calls = [
        (path, call)
        for folder in ("benchmarks", "docker", "scripts", "tests", "training", "web")
        for path in (ROOT / folder).rglob("*.py")
        for call in re.findall(r"MlflowClient\(([^()]+)\)", path.read_text())
    ]
    assert [call for call in calls if call[1].count(",") != 1] == []
