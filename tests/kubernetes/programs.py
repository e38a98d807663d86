"""
What the containers run: an image's own program or another that it has, its options, its variables.

The truth is elsewhere: Dockerfile and docker-compose.yml, the programs' help, the names in the
sources.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import re
from typing import Final

from console.paths import ROOT
from scripts.serve import PORTS
from tests.kubernetes.images import COMPOSE, service, stage
from tests.kubernetes.rendered import Document, image_of

OTHER_PROGRAMS: Final = {
    "iqa-torchserve": {("python", "-m", "scripts.serve_pinned"): ["/mnt/models"]},
    "iqa-sidecar": {
        ("python", "-m", "scripts.register_pretrained"): ["--all", "--if-empty"],
        ("python", "-m", "scripts.build_mar"): ["--alias", "--publish"],
    },
}
"""Beside an image's own: {the words that name it: the words that it needs}."""
NOT_OURS: Final = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL", "ARTIFACTS",
    "POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "PGDATA", "NVIDIA_DRIVER_CAPABILITIES",
}  # fmt: skip
OPTIONAL: Final = {"PREDICTION_LOG", "IQA_LOG_LEVEL", "MLFLOW_SERVER_ALLOWED_HOSTS"}
"""Of compose's variables those that may be left out; the last is an option here."""


def problems(container: Document, told: dict[str, str]) -> list[str]:
    """
    Return what does not fit the program of one container.

    Args:
        container: By the manifest.
        told: The variables that it sees.
    """
    return [*_words(container), *_variables(container, told)]


@functools.cache
def known_variables() -> frozenset[str]:
    """Return every name that the sources could mean as a variable."""
    files = [ROOT / "Dockerfile", *(p for top in ("scripts", "web", "docker", "console")
             for p in (ROOT / top).rglob("*.py"))]  # fmt: skip
    words = set()
    for path in files:
        words |= set(re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*\b", path.read_text()))
    # serve.py makes the first of a table.
    words |= {f"{name.upper()}_PORT" for name in PORTS}
    words |= {name for service in COMPOSE.values() for name in service.get("environment", {})}
    return frozenset(words | NOT_OURS)


@functools.cache
def options_of(module: str) -> frozenset[str]:
    """Return the options of a command of ours, by its help; empty if there is no such command."""
    printed = io.StringIO()
    words = ["sync", "--help"] if module == "scripts.deploy" else ["--help"]
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            importlib.import_module(module).main(words)
    except ModuleNotFoundError:
        return frozenset()
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", printed.getvalue()))


def _words(container: Document) -> list[str]:
    image, words = image_of(container), [str(word) for word in container.get("args", [])]
    if "command" in container:
        return ["command: expected the image's own entry point, which reaps processes"]
    if image == "postgres":
        return []
    own = stage(image)[0]
    if not own:
        return [f"image: the Dockerfile has no stage for {image}"]
    own = _joined([str(word) for word in service(image).get("command", own)])
    n_named = 3 if own[:2] == ["python", "-m"] else 2
    programs = {tuple(own[:n_named]): own[n_named:], **OTHER_PROGRAMS.get(image, {})}
    for named, wanted in programs.items():
        if tuple(words[: len(named)]) == named:
            return _options(named, wanted, words[len(named) :])
    return [f"args: expected one of {[' '.join(named) for named in programs]}, got {words}"]


def _joined(words: list[str]) -> list[str]:
    """Return the words with --name VALUE as --name=VALUE."""
    joined: list[str] = []
    for word in words:
        has_name = bool(joined) and joined[-1].startswith("--") and "=" not in joined[-1]
        if has_name and (not word.startswith("--") or joined[-1] == "--uvicorn-opts"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _options(named: tuple[str, ...], wanted: list[str], words: list[str]) -> list[str]:
    needs = {word.partition("=")[0] for word in wanted if word.startswith("--") or "/" in word[:1]}
    names = {word.partition("=")[0] for word in words}
    module = "scripts.deploy" if named[-1] == "docker/sidecar.py" else named[-1]
    known = options_of(module) if module.startswith("scripts.") else frozenset(needs)
    # What compose's service sets and a program has a default for.
    found = [f"args: expected {word}" for word in sorted(needs - names - {"--poll-s"})]
    unknown = {name for name in names - known - needs if name.startswith("-")}
    found += [f"args: no option {name} of {named[-1]}" for name in sorted(unknown)]
    loose = [word for word in words if not word.startswith("--") and word not in wanted]
    return found + [f"args: unknown word {word!r}" for word in loose]


def _variables(container: Document, told: dict[str, str]) -> list[str]:
    image = image_of(container)
    names = [str(one.get("name")) for one in container.get("env", [])]
    found = [f"env: nothing reads {name}" for name in names if name not in known_variables()]
    found += [f"env: {name} twice" for name in set(names) if names.count(name) > 1]
    found += [f"env: {name} is empty" for name in names if told[name] == ""]
    words = " ".join(str(word) for word in container.get("args", []))
    is_own = image == "iqa-sidecar" and "docker/sidecar.py" not in words
    of_compose = service("register" if is_own else image)
    for name in of_compose.get("environment", {}):
        if name not in OPTIONAL and not told.get(name):
            if is_own and "build_mar" in words and name == "MODELS":
                continue
            found.append(f"env: expected {name}")
    # The image's own values name compose's other containers.
    found += [
        f"env: {name}={value}: no such host in a pod"
        for name, value in told.items()
        if re.search(r"(^|/)(front|torchserve|web):\d", value)
    ]
    if "docker/sidecar.py" in words and told.get("IQA_ARCHIVES") != "registry":
        found.append("env: expected IQA_ARCHIVES=registry")
    for reference in re.findall(r"\$\((\w+)\)", words + " ".join(told.values())):
        if reference not in names:
            found.append(f"$({reference}): no such variable before it")
    if image == "iqa-torchserve":
        for name in ("INFERENCE_HOST", "MANAGEMENT_HOST"):
            if told.get(name) != "127.0.0.1":
                found.append(f"{name}: expected 127.0.0.1, got {told.get(name)}")
        if told.get("MODELS", "").count(",") == 0 and "pinned" in words and not re.fullmatch(
            r"[0-9a-f]{64}", told.get("PINNED_MAR_SHA256", "")):  # fmt: skip
            found.append("env: expected PINNED_MAR_SHA256")
    return found
