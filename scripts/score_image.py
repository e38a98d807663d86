"""Score images with a running server."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from console import command_line
from scripts.server.http_client import NoAnswer, predict


def main(argv: list[str] | None = None) -> int:
    """Print one line a picture; 1 if any got no score."""
    port = os.environ.get("INFERENCE_PORT", "8080")
    parser = argparse.ArgumentParser(
        prog="python -m scripts.score_image",
        description="Send pictures to a running server and print their scores, 0 to 100, or of "
        "a model of classes the confidence, 0 to 1, and the class.",
        epilog="Start one first: scripts/run_torchserve.sh --detach",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pictures")
    parser.add_argument(
        "--url", default=f"http://127.0.0.1:{port}", help="the server's (default: %(default)s)"
    )
    command_line.add_model_name(parser, "which of its models")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(
        lambda: _score(arguments.files, arguments.url, arguments.model_name), arguments.debug
    )


def _score(files: list[Path], url: str, model_name: str) -> int:
    refused = 0
    for path in files:
        try:
            code, reply = predict(url, path.read_bytes(), model_name)
        except NoAnswer as error:
            raise RuntimeError(
                f"{url}: expected a server, got no answer. "
                "Start one: scripts/run_torchserve.sh --detach"
            ) from error
        if code == 200:
            notes = f"  ({', '.join(reply['warnings'])})" if reply["warnings"] else ""
            number = reply.get("score", reply.get("confidence"))
            label = reply.get("label", reply.get("predicted_label"))
            print(f"{number:7.2f}  {label:<9}  {path}{notes}")
        else:
            refused += 1
            print(f"{code:>7}  {'refused':<9}  {path}: {reply.get('message')}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
