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

from training.config import TrainConfig, add_options, train_config
from training.tracking_uri import ROOT

# Each layer may import those after it, and packages from outside.
LAYERS = {
    "handler/iqa": {"iqa"},
    "handler": {"iqa", "request_log", "telemetry", "ts"},
    "training": {"iqa", "training"},
    "scripts": {"iqa", "training", "scripts"},
}
MODULE = r"python -m ((?:training|scripts|benchmarks)\.\w+)"
FILE = r"(?:training|scripts|handler|docs|torchserve|benchmarks|tests)/[\w/.-]+\.\w+"
OWN = {"iqa", "iqa_handler", "request_log", "telemetry", "training", "scripts", "tests", "ts"}
SERVING_PACKAGES = {"torch", "torchvision", "PIL", "numpy", "safetensors", "openvino"}
COMMANDS = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("training", "scripts", "benchmarks")
    for path in (ROOT / folder).glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text() and path.stem != "prove_mar"
)
PACKAGES = {"benchmarks.reliability": "benchmarks.reliability.__main__"}
"""Commands that are a folder, and where their `main` is."""


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    """Scripts -> training -> iqa; iqa knows nothing of the project and nothing of TorchServe."""
    files = sorted((ROOT / layer).glob("*.py"))
    assert files
    for path in files:
        wrong = imported(path) & OWN - LAYERS[layer]
        # The proof runs alone and loads what lies in the archive.
        if path.name == "prove_mar.py":
            wrong -= {"ts"}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


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
        if any(name.endswith("tracking_uri.connect") for name in names):
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
    assert "add_tracking_uri(parser)" in (ROOT / "docker" / "sidecar.py").read_text()


def test_how_long_to_wait_for_mlflow_is_said_in_one_place() -> None:
    """Its variables for retries and timeouts are named in one file."""
    naming = {
        path.name
        for folder in ("training", "scripts", "docker", "handler")
        for path in (ROOT / folder).rglob("*.py")
        if "MLFLOW_HTTP_REQUEST" in path.read_text()
    }
    assert naming == {"tracking_uri.py"}


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
    assert naming == {"registry.py"}


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


def test_every_script_has_its_line() -> None:
    """scripts/README.md names each command once."""
    text = (ROOT / "scripts" / "README.md").read_text()
    for path in (ROOT / "scripts").iterdir():
        if path.suffix in (".py", ".sh") and path.stem != "__init__":
            assert text.count(f"| `{path.name}` |") == 1, path.name


@pytest.mark.parametrize("part", ["training", "torchserve", "tests", "benchmarks"])
def test_requirements_are_pinned_with_hashes_and_name_no_index(part: str) -> None:
    """Every line is name==version with digests; whoever installs chooses the index."""
    text = (ROOT / part / "requirements.txt").read_text()
    assert "://" not in text
    assert "--index" not in text
    pins = re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)
    assert {"torch", "numpy"} <= set(pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert not re.findall(r"^[A-Za-z0-9._-]+(?:>|~|<)", text, re.MULTILINE)


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
