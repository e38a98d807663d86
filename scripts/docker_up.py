"""
Start the whole system in containers: `scripts/run_torchserve.sh --docker`.

Builds the images, starts `docker-compose.yml`, waits until a version serves, scores a picture
through the front. Needs Docker and Python's standard library, no environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, Final

from console import command_line
from console.paths import ROOT

SAMPLE: Final = ROOT / "handler" / "golden" / "parrots.jpg"
POLL_S: Final = 1.0
PAGES: Final = {"MLflow": ("mlflow", 5000), "Prometheus": ("prometheus", 9090)}


def main(argv: list[str] | None = None) -> int:
    """Start it from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.docker_up",
        description="Build and start docker-compose.yml, wait until a version serves, and score a "
        "picture. What is set by variables (ports, images, memory): docs/docker.md.",
        epilog="Stop it: docker-compose down, in the root of the project",
    )
    parser.add_argument("--no-build", action="store_true", help="take the images as they are")
    parser.add_argument(
        "--ready-s", type=float, default=600.0,
        help="how long to wait for the first score; a first start builds an archive "
        "(default: %(default)g)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(
        lambda: up(compose_command(), arguments.ready_s, build=not arguments.no_build),
        arguments.debug,
    )


def up(compose: list[str], ready_s: float, *, build: bool) -> int:
    """
    Build, start, wait, score.

    Raises:
        RuntimeError: A step failed; with what to look at.
    """
    begin_s = time.monotonic()
    if build:
        _run([*compose, "build"], "the build")
    _run([*compose, "up", "-d"], "the start")
    front = f"http://{published(compose, 'front', 8080)}"
    reply = first_score(compose, front, ready_s)
    pages = "\n".join(
        f"{name + ':':<13}http://{published(compose, service, port)}"
        for name, (service, port) in PAGES.items()
    )
    sample = os.path.relpath(SAMPLE)
    words = " ".join(compose)
    print(
        f"{sample}: {reply['score']:.2f} ({reply['label']}), iqa version "
        f"{reply['model']['version']}, {time.monotonic() - begin_s:.0f} s after the start\n"
        f"\n"
        f"page:        {front}/\n"
        f"inference:   {front}/predictions/iqa\n"
        f"{pages}\n"
        f"\n"
        f"try:         curl -T {sample} {front}/predictions/iqa\n"
        f"status:      {words} exec sidecar python -m scripts.deploy status\n"
        f"stop:        {words} down",
        flush=True,
    )
    return 0


def compose_command() -> list[str]:
    """
    Return how compose is called here.

    Raises:
        FileNotFoundError: Neither form of it is installed.
    """
    if shutil.which("docker") and _says(["docker", "compose", "version"]):
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise FileNotFoundError(
        "docker: expected Docker with compose on PATH, found none. Install Docker Engine and its "
        "compose plugin, or docker-compose 1.29."
    )


def published(compose: list[str], service: str, port: int) -> str:
    """
    Return where a service's port is reached from this machine, e.g. 127.0.0.1:8080.

    Raises:
        RuntimeError: It does not run.
    """
    done = subprocess.run(
        [*compose, "port", service, str(port)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    address = done.stdout.strip()
    if done.returncode != 0 or not address:
        raise RuntimeError(
            f"{service}: expected its port {port} published, got none. "
            f"See: {' '.join(compose)} ps, {' '.join(compose)} logs {service}"
        )
    return address.replace("0.0.0.0:", "127.0.0.1:")


def first_score(compose: list[str], front: str, ready_s: float) -> dict[str, Any]:
    """
    Wait until the front says ready, and score the sample picture.

    Raises:
        RuntimeError: It is not ready in time, or the picture got no score.
    """
    deadline = time.monotonic() + ready_s
    said = ""
    while True:
        code, body = ask(f"{front}/ready")
        if code == 200:
            break
        # One line for each change: a first start takes a minute or two.
        if body != said:
            said = body
            print(f"not ready yet: {_reason(body)}", flush=True)
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"the front: expected it ready within {ready_s:g} s, got: {_reason(body)}. "
                f"See: {' '.join(compose)} ps, {' '.join(compose)} logs sidecar torchserve"
            )
        time.sleep(POLL_S)
    code, body = ask(f"{front}/predictions/iqa", SAMPLE.read_bytes())
    if code != 200:
        raise RuntimeError(f"{SAMPLE.name}: expected a score, got {code}: {body}")
    reply: dict[str, Any] = json.loads(body)
    return reply


def ask(url: str, body: bytes | None = None, timeout_s: float = 35.0) -> tuple[int, str]:
    """
    Send a request, past any proxy of the environment.

    Returns:
        Status and text; 0 and the reason where there is no answer.
    """
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/octet-stream"} if body else {}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(getattr(error, "reason", error))


def _reason(body: str) -> str:
    """Return what a readiness reply says, in words."""
    try:
        told = json.loads(body)
        return str(told.get("reason") or told.get("message") or body).rstrip(".")
    except (ValueError, AttributeError):
        return " ".join(body.split())[:200] or "nothing"


def _run(command: list[str], what: str) -> None:
    print(f"$ {' '.join(command)}", flush=True)
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        raise RuntimeError(f"{what}: expected exit status 0, got {status}; its words are above.")


def _says(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
