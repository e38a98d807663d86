"""The wheel, installed where nothing of the project is: three lines of Python, and the command."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from console.paths import ROOT
from tests.images import encode, photograph

MAX_WHEEL_BYTES = 15_000_000
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "package")
GOLDEN = ROOT / "handler" / "golden"
FOREIGN = ("torch", "mlflow", "ts", "training", "scripts", "console")


def build_wheel(folder: Path) -> Path:
    """Build the wheel out of a copy of the sources, offline, with the setuptools of this venv."""
    source = folder / "source"
    shutil.copytree(
        ROOT / "handler" / "iqa", source / "handler" / "iqa",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    shutil.copytree(ROOT / "training" / "pretrained", source / "training" / "pretrained")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, source / name)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=source, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def packages_needed(*names: str) -> set[str]:
    """Return these packages and what they need, by name."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def link_packages(environment: Path, *names: str) -> None:
    """Give an environment this one's copies of these packages and what they need, and no more."""
    site = next((environment / "lib").glob("python*/site-packages"))
    for name in packages_needed(*names):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            place = site / top
            if not place.exists() and top != "__pycache__":
                place.symlink_to(Path(str(distribution.locate_file(top))).resolve())


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel and what it needs, and no network."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(folder)
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    interpreter = folder / "venv" / "bin" / "python"
    subprocess.run(
        [interpreter, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel], check=True
    )
    # What pip would fetch: this environment's copies of the wheel's own dependencies, and no more.
    needs = [re.split(r"[^\w.-]", line)[0] for line in _requires(wheel)]
    assert sorted(needs) == ["numpy", "openvino", "pi-heif", "pillow", "safetensors"]
    link_packages(folder / "venv", *needs)
    return interpreter


def _requires(wheel: Path) -> list[str]:
    (found,) = metadata.distributions(path=[str(wheel)])
    return found.requires or []


def run(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the fresh interpreter in its own folder."""
    return subprocess.run(
        [python, *arguments], cwd=python.parent, env={"PATH": str(python.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


THREE_LINES = """
import json, sys, time
started_s = time.perf_counter()
import iqa
assert not {"numpy", "PIL", "openvino"} & set(sys.modules), "import iqa did some work"
model = iqa.load()
first = model.score(sys.argv[1])
taken_s = time.perf_counter() - started_s
import numpy as np
from PIL import Image
image = Image.open(sys.argv[1])
body = open(sys.argv[1], "rb").read()
try:
    model.score(b"no picture")
    reason = None
except iqa.ImageRejected as error:
    reason = error.reason
print(json.dumps({
    "scores": [first, model.score(body), model.score(image), model.score(np.asarray(image))],
    "list": model.score([sys.argv[1], body]), "label": first.label, "interval": first.interval,
    "reply": model.predict(body), "reason": reason, "taken_s": taken_s,
    "precision": model.precision, "foreign": sorted(set(sys.argv[2:]) & set(sys.modules)),
    "iqa": iqa.__file__,
}))
"""


def test_three_lines_give_a_score_without_torch_and_without_a_server(python: Path) -> None:
    """A path, bytes, a PIL image, an array and a list: one score, and the reason of a refusal."""
    done = run(python, "-c", THREE_LINES, GOLDEN / "parrots.jpg", *FOREIGN)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert str(ROOT) not in told["iqa"]
    assert told["foreign"] == []
    assert max(told["scores"]) - min(told["scores"]) < 0.01
    assert told["list"] == told["scores"][:2]
    assert told["label"] == "excellent"
    assert told["interval"][0] < told["scores"][0] < told["interval"][1]
    assert told["reply"]["image"] == {"width": 768, "height": 512, "format": "JPEG"}
    assert told["reason"] == "undecodable"


def test_no_torch_is_there_to_be_imported(python: Path) -> None:
    """The test above would prove nothing in an environment that has it."""
    assert run(python, "-c", "import torch").returncode == 1
    assert run(python, "-c", "import mlflow").returncode == 1


def test_the_package_is_typed(python: Path) -> None:
    """py.typed, and the types of what `import iqa` gives."""
    code = "import iqa, pathlib; p = pathlib.Path(iqa.__file__).parent; print(*sorted(p.iterdir()))"
    listed = run(python, "-c", code).stdout
    assert "py.typed" in listed
    assert "__init__.pyi" in listed


def test_the_command_scores_and_says_why_not(python: Path, tmp_path: Path) -> None:
    """Text, JSON lines and CSV; exit status 1 where something was refused."""
    (tmp_path / "no.jpg").write_bytes(b"hello")
    (tmp_path / "small.png").write_bytes(encode(photograph(40, 40), "PNG"))
    command = python.parent / "iqa"
    files = [GOLDEN / "parrots.jpg", tmp_path]

    def told(*options: str) -> str:
        done = subprocess.run(
            [command, "score", *files, *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        return done.stdout

    lines = told().splitlines()
    assert lines[0].split()[1] == "excellent"
    assert "refused" in lines[1]
    # Drawn by the tests: the model may say of it that it is no photograph, too.
    assert "upscaled" in lines[2].rpartition("(")[2].rstrip(")").split(", ")
    documents = [json.loads(line) for line in told("--json").splitlines()]
    assert [d.get("reason") for d in documents] == [None, "undecodable", None]
    rows = list(csv.DictReader(io.StringIO(told("--csv"))))
    assert [float(row["score"] or -1) for row in rows] == [
        documents[0]["score"], -1, documents[2]["score"],
    ]  # fmt: skip
    assert rows[1]["reason"] == "undecodable"
    alone = subprocess.run([command, "score", files[0]], capture_output=True, check=False)
    assert alone.returncode == 0


def test_the_command_teaches(python: Path) -> None:
    """--help has examples; a model that is not there ends with 2 and says what was expected."""
    command = python.parent / "iqa"
    page = subprocess.run([command, "score", "--help"], capture_output=True, text=True, check=True)
    assert "iqa score photo.jpg" in page.stdout
    absent = subprocess.run(
        [command, "score", "a.jpg", "--model", "none.mar"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert absent.returncode == 2
    assert "expected an archive or a folder" in absent.stderr
