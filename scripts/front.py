"""
Run nginx in front of TorchServe, or print its configuration.

`scripts/run_torchserve.sh --front` runs it under the supervisor. By itself, e.g. in a container
with an nginx image, the same template serves:

    python -m scripts.front --print --upstream torchserve:8084 --health torchserve:8083 > nginx.conf
    nginx -e stderr -c $PWD/nginx.conf

or, without Python, with all FRONT_... variables of `--help` in the environment:

    names=$(env | grep -o '^FRONT_[A-Z_]*' | sed 's/.*/${&}/')
    envsubst "$names" < torchserve/front/nginx.conf.template > nginx.conf

The folder of FRONT_DIR must exist. SIGQUIT ends it once all accepted requests are answered.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Final

import psutil

from console import command_line
from console.paths import ROOT
from scripts.server.state import StateDir

logger = logging.getLogger(__name__)

TEMPLATE: Final = ROOT / "torchserve" / "front" / "nginx.conf.template"
MAX_CONNECTIONS: Final = 16384
SPARE_FILES: Final = 512
"""Descriptors for TorchServe's side, large bodies and logs."""
REFUSING_S: Final = 1.0
"""How long the next request of a connection that is kept alive may take to come and be told."""
POLL_S: Final = 0.02

Settings = dict[str, str]

HELP: Final = {
    "FRONT_LISTEN": "address and port for clients",
    "FRONT_UPSTREAM": "TorchServe's inference address",
    "FRONT_HEALTH": "the supervisor's address, for /ready",
    "FRONT_IN_FLIGHT": "requests under way at most; the next one gets 503 `overloaded`",
    "FRONT_PER_ADDRESS": "requests and uploads of one client address at once",
    "FRONT_MAX_BYTES": "size of a body; above it 413",
    "FRONT_CONNECTIONS": "connections, idle ones included",
    "FRONT_DRAIN_S": "seconds that accepted requests get at the end",
    "FRONT_DIR": "folder for its process id and large bodies; exists",
    "FRONT_MODELS": "names of the models, with | between them",
    "FRONT_ERROR_LEVEL": "nginx's level; below `crit` it writes a line for each refusal",
    "FRONT_ACCESS_LOG": "`off`, or e.g. `/dev/stdout iqa`: one JSON line a request",
}


def main(argv: list[str] | None = None) -> int:
    """Print the configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.front",
        description="Print nginx's configuration for the front, to run it apart from "
        "scripts/run_torchserve.sh --front, which needs no call of this.",
        epilog="Each option may also be given by the environment variable in brackets.",
    )
    parser.add_argument(
        "--print", action="store_true", required=True, help="to standard output; what this does"
    )
    for variable, value in defaults().items():
        parser.add_argument(
            "--" + variable.removeprefix("FRONT_").lower().replace("_", "-"),
            dest=variable, default=os.environ.get(variable) or value,
            help=f"{HELP[variable]} [{variable}] (default: {value})",
        )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        print(render({variable: getattr(arguments, variable) for variable in HELP}), end="")
        return 0

    return command_line.run(command, arguments.debug)


def defaults() -> Settings:
    """Return what each placeholder of the template is when nobody says otherwise."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_CONNECTIONS if files == resource.RLIM_INFINITY else files - SPARE_FILES
    connections = str(max(min(most, MAX_CONNECTIONS), SPARE_FILES))
    level = os.environ.get("IQA_LOG_LEVEL", "").upper()
    return {
        "FRONT_LISTEN": "127.0.0.1:8080",
        "FRONT_UPSTREAM": "127.0.0.1:8084",
        "FRONT_HEALTH": "127.0.0.1:8083",
        # What TorchServe's queue takes: with workers that hold some as well, it is never full.
        "FRONT_IN_FLIGHT": _setting("torchserve/model-config.yaml", r"^jobQueueSize: (\d+)"),
        "FRONT_PER_ADDRESS": connections,
        "FRONT_MAX_BYTES": _setting("config.properties", r"^max_request_size=(\d+)"),
        "FRONT_CONNECTIONS": connections,
        "FRONT_DRAIN_S": "35",
        "FRONT_DIR": str(StateDir.from_environment().front),
        "FRONT_MODELS": "iqa",
        "FRONT_ERROR_LEVEL": "info" if level == "DEBUG" else "crit",
        "FRONT_ACCESS_LOG": "/dev/stdout iqa" if level in ("INFO", "DEBUG") else "off",
    }


def render(settings: Settings) -> str:
    """
    Return the configuration.

    Args:
        settings: Values of the template's placeholders.

    Raises:
        ValueError: A value would end its directive and begin another.
    """
    for variable, value in settings.items():
        if not re.fullmatch(r"[\w ./:\[\]|-]+", value):
            raise ValueError(f"{variable}: expected an address, path or number, got {value!r}.")
    return re.sub(r"\$\{(FRONT_\w+)\}", lambda found: settings[found[1]], TEMPLATE.read_text())


class Front:
    """
    One nginx, started here.

    Args:
        settings: See `render`; FRONT_DIR is made.
        log: Where it writes; None: where this process does.

    Raises:
        FileNotFoundError: nginx is missing.
        ValueError: nginx refuses the configuration.
        RuntimeError: It does not start.
    """

    def __init__(self, settings: Settings, log: Path | None = None) -> None:
        expect_nginx()
        folder = Path(settings["FRONT_DIR"])
        folder.mkdir(parents=True, exist_ok=True)
        stop_left_over(folder)
        self._stopping, self._down = folder / "stopping", folder / "down"
        for mark in (self._stopping, self._down):
            mark.unlink(missing_ok=True)
        self._drain_s = float(settings["FRONT_DRAIN_S"])
        config = folder / "nginx.conf"
        config.write_text(render(settings))
        command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]
        if os.geteuid() == 0:  # else its worker becomes `nobody` and cannot read our folder
            command += ["-g", "user root;"]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        if tested.returncode != 0:
            said = tested.stderr.strip().splitlines()
            raise ValueError(f"front: expected nginx to take {config}, got: {' '.join(said)}")
        _raise_file_limit()
        with contextlib.ExitStack() as stack:
            out: IO[str] | None = stack.enter_context(log.open("a")) if log else None
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT if out else None,
                start_new_session=True,  # Ctrl-C is ours to handle, and the group ends as a whole
            )
        self._folder = folder
        deadline = time.monotonic() + 5.0
        while not (folder / "nginx.pid").exists():
            if not self.is_alive() or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("front: expected nginx to start, got its end. See its log.")
            time.sleep(0.01)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def hold(self) -> None:
        """
        Refuse requests as `unavailable` until `release`: TorchServe is being started.

        Between its first open port and its first model it would answer 404.
        """
        self._down.touch()

    def release(self) -> None:
        """Pass requests on again."""
        self._down.unlink(missing_ok=True)

    def stop(self, hurry: threading.Event) -> bool:
        """
        Refuse new requests, answer the accepted ones, end.

        For a second new requests get 503 with `Connection: close`, so that clients leave; only
        then the port is closed: a request that arrives on a connection while nginx closes it
        would be reset.

        Args:
            hurry: Set where the accepted ones are to be given up.

        Returns:
            Whether all accepted requests were answered, in FRONT_DRAIN_S at most.
        """
        self._stopping.touch()
        hurry.wait(REFUSING_S)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + self._drain_s + 2.0
        while self.is_alive() and not hurry.wait(POLL_S) and time.monotonic() < deadline:
            pass
        has_ended = not self.is_alive()
        self.kill()
        return has_ended

    def kill(self) -> None:
        """End what is left of it at once."""
        _kill_group(self._process.pid)
        self._process.wait()
        for left in ("nginx.pid", "stopping", "down"):
            (self._folder / left).unlink(missing_ok=True)


def expect_nginx() -> None:
    """
    Check that nginx is there.

    Raises:
        FileNotFoundError: It is not.
    """
    if shutil.which("nginx") is None:
        raise FileNotFoundError(
            "front: expected nginx on PATH, got none. Install it (Debian: nginx-light), or start "
            "without --front."
        )


def stop_left_over(folder: Path) -> bool:
    """End an nginx of this folder whose supervisor is gone; return whether there was one."""
    pid_file = folder / "nginx.pid"
    try:
        group = int(pid_file.read_text())
    except (OSError, ValueError):
        return False
    was_there = _kill_group(group)
    pid_file.unlink(missing_ok=True)
    return was_there


def _kill_group(group: int) -> bool:
    """End nginx's processes of a group; its number may by now be somebody else's."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == group and process.name() == "nginx":
                process.kill()
                members.append(process)
    psutil.wait_procs(members, timeout=5.0)
    return bool(members)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _setting(file: str, pattern: str) -> str:
    """Return a number of one of the server's own settings, so that it stands in one place."""
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{file}: expected a line like {pattern}, got none.")
    return found[1]


if __name__ == "__main__":
    sys.exit(main())
