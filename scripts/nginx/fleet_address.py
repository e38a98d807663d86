"""nginx's configuration for one address before several servers, each with a front of its own."""

from __future__ import annotations

import re
from typing import Final

from scripts.nginx.settings import TEMPLATE, Settings

FLEET_TEMPLATE: Final = TEMPLATE.with_name("fleet.conf.template")
USED: Final = (
    "FRONT_LISTEN", "FRONT_DIR", "FRONT_MAX_BYTES", "FRONT_BATCH_BYTES", "FRONT_CONNECTIONS",
    "FRONT_DRAIN_S", "FRONT_ERROR_LEVEL", "FRONT_PER_ADDRESS",
)  # fmt: skip


def render_fleet(settings: Settings, replicas: str) -> str:
    """
    Return the configuration.

    Args:
        settings: Of a front, see `settings.HELP`; where the servers are is not among those used.
        replicas: HOST:PORT of each server's front, with commas between. The order counts: where
            it stays the same, each key keeps its server.

    Raises:
        ValueError: One is no address, or there is none.
    """
    addresses = [part.strip() for part in replicas.split(",")]
    for address in addresses:
        if not re.fullmatch(r"[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+", address):
            raise ValueError(f"--replicas: expected HOST:PORT,HOST:PORT,..., got {address!r}.")
    if len(set(addresses)) != len(addresses):
        raise ValueError("--replicas: expected each server once, got one twice.")
    servers = "\n    ".join(f"server {address} max_fails=0;" for address in addresses)
    values = {**{name: settings[name] for name in USED}, "FRONT_REPLICAS": servers}
    text = FLEET_TEMPLATE.read_text()
    return re.sub(r"\$\{(FRONT_\w+)\}", lambda found: values[found[1]], text)
