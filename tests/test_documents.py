"""What a machine can check of the documents: commands, options, files, links."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess

import pytest

from console.paths import ROOT
from tests.commands import COMMANDS
from training.data.config import add_options
from training.loop.config import TrainConfig, train_config

MODULE = r"python -m ((?:training|scripts|benchmarks)\.\w+)"
FILE = r"(?:training|scripts|handler|docs|torchserve|benchmarks|tests)/[\w/.-]+\.\w+"
PACKAGES = {"benchmarks.reliability": "benchmarks.reliability.__main__"}
"""Commands that are a folder, and where their `main` is."""


def test_every_make_target_of_the_readme_exists_and_the_reverse() -> None:
    """README and Makefile name the same targets."""
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)`", readme))
    assert named == targets


def test_the_shipped_model_is_the_one_that_make_reproduces() -> None:
    """The card's settings are those of the command that says it repeats them."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "reproduce-biq2021", "SHIPPED=none/shipped"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    commands = re.findall(r"training\.train (.*)", done.stdout.replace("\\\n", " "))
    assert len(commands) == 3, done.stdout
    parser = argparse.ArgumentParser()
    add_options(parser, TrainConfig)
    config = train_config(parser.parse_args(commands[-1].split()))
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
    "none", "imagenet", "docs/model/test.json", "docs/model/fast-test.json",
    "docs/model/calibration.json",
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
