"""
Requests made from /openapi.json, right ones and wrong ones, to a server that runs (Schemathesis).

    python -m tests.attack.api_fuzz [--url http://127.0.0.1:8080] [--cases 10000] [--seed 0]

Fails on a 5xx, on a status, header or document that the file does not name, on a method that is
taken and not named. Not looked at: whether what fits the schema is accepted (random bytes are no
image), and /reload-model, unless --reload says so: each request would start the deploy tool.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "unsupported_method",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run it; the exit status is Schemathesis's own."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.api_fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="(default: %(default)s)")
    parser.add_argument("--cases", type=int, default=10_000, help="at least (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--reload", action="store_true", help="ask /reload-model as well")
    arguments = parser.parse_args(argv)
    with urllib.request.urlopen(f"{arguments.url}/openapi.json", timeout=30) as reply:
        paths = json.load(reply)["paths"]
    # What takes nothing has one case; the others share the number, and not all reach their share.
    n_varied = sum(
        bool({"parameters", "requestBody"} & set(operation))
        for path in paths.values() for operation in path.values()
    )  # fmt: skip
    examples = -(-arguments.cases * 6 // (5 * n_varied))
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{arguments.url}/openapi.json",
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(examples), "--seed", str(arguments.seed),
        "--continue-on-failure", "--suppress-health-check", "all", "--request-timeout", "60",
        *([] if arguments.reload else ["--exclude-path", "/reload-model"]),
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
