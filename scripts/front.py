"""
Run nginx in front of TorchServe, or print its configuration.

`scripts/run_torchserve.sh` runs it under the supervisor, `--no-front` does without. By itself, e.g.
in a container with an nginx image, the same template serves:

    python -m scripts.front --print --upstream torchserve:8084 --health torchserve:8083 > nginx.conf
    nginx -e stderr -c $PWD/nginx.conf

The folder of FRONT_DIR must exist. SIGQUIT ends it once all accepted requests are answered.
"""

from __future__ import annotations

import argparse
import os
import sys

from console import command_line
from scripts.nginx.fleet_address import render_fleet
from scripts.nginx.settings import HELP, defaults, render


def main(argv: list[str] | None = None) -> int:
    """Print the configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.front",
        description="Print nginx's configuration for the front, to run it apart from "
        "scripts/run_torchserve.sh, which needs no call of this.",
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
    parser.add_argument(
        "--replicas", default=os.environ.get("FRONT_REPLICAS"), metavar="HOST:PORT,...",
        help="print the configuration of one address before these servers, each with a front of "
        "its own, instead: X-Sticky-Key always leads to the same one (docs/scale.md) "
        "[FRONT_REPLICAS]",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        settings = {variable: getattr(arguments, variable) for variable in HELP}
        if arguments.replicas:
            print(render_fleet(settings, arguments.replicas), end="")
        else:
            print(render(settings), end="")
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
