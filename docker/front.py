"""
The front's container: nginx until TERM, then it answers what it has accepted, and ends.

nginx looks a name up once, when it reads its configuration. The server's container gets another
address when it is made anew, so the names are looked up here, and a change is a reload.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Final

from console import command_line
from scripts.nginx.front_process import Front
from scripts.nginx.settings import OFF, Settings, from_environment, render

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
NAMES: Final = ("FRONT_UPSTREAM", "FRONT_HEALTH")


def main() -> int:
    """Run it; 0 after TERM, 1 if nginx ended by itself or does not start."""
    return command_line.run(serve, debug=False)


def serve() -> int:
    """Keep nginx running and pointed at the server."""
    named = from_environment()
    stopping, hurry = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: (hurry if stopping.is_set() else stopping).set())
    settings = resolved(named)
    while settings is None:
        if stopping.wait(LOOK_S):
            return 0
        settings = resolved(named)
    front = Front(settings)
    logger.info("%s: in front of %s", settings["FRONT_LISTEN"], settings["FRONT_UPSTREAM"])
    while not stopping.wait(LOOK_S):
        if not front.is_alive():
            raise RuntimeError("nginx: expected it to run, got its end; its words are above.")
        now = resolved(named)
        if now is not None and now != settings:
            logger.info("the server is at %s now, reloading", now["FRONT_UPSTREAM"])
            settings = now
            reload(settings)
    return 0 if front.stop(hurry) else 1


def resolved(named: Settings) -> Settings | None:
    """Return the settings with addresses in place of names; None while a name has none."""
    settings = dict(named)
    for variable in NAMES:
        try:
            settings[variable] = address_of(named[variable])
        except OSError:
            return None
    if settings["FRONT_WEB"] != OFF:
        try:
            settings["FRONT_WEB"] = address_of(settings["FRONT_WEB"])
        except OSError:  # the page is away: scores are not
            settings["FRONT_WEB"] = OFF
    return settings


def address_of(named: str) -> str:
    """
    Return HOST:PORT with the host's address in place of its name.

    Raises:
        OSError: The name has none.
    """
    name, _, port = named.rpartition(":")
    # Sorted: several containers by one name are not to look like a change.
    return f"{sorted(socket.gethostbyname_ex(name)[2])[0]}:{port}"


def reload(settings: Settings) -> None:
    """Let nginx read a new configuration; what is under way is finished with the old one."""
    folder = Path(settings["FRONT_DIR"])
    (folder / "nginx.conf").write_text(render(settings))
    os.kill(int((folder / "nginx.pid").read_text()), signal.SIGHUP)


if __name__ == "__main__":
    sys.exit(main())
