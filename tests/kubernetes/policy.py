"""
checkov on what kubernetes/ becomes: `.venv-kubernetes/bin/python -m tests.kubernetes.policy`.

In an environment of its own (scripts/setup_env.sh --kubernetes): it pins a hundred packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = [
    *(f"overlays/{o}" for o in ("single", "autoscaled", "keda", "gpu")),
    "registry",
    "publish",
]
"""Not KServe's: checkov looks into no custom resource."""
NOT_FOLLOWED = {
    "CKV_K8S_43": "digests are of your registry; the manifests name versions",
    "CKV_K8S_15": "a version on the node is taken from there; the registry may be away",
    "CKV_K8S_35": "MLflow and PostgreSQL's image take their passwords from variables",
    "CKV_K8S_40": "PostgreSQL's image has the user 999",
}


def main() -> int:
    """Build, check, print; 1 if a rule is broken that is not listed here, or no longer is."""
    bin_ = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        for place in PLACES:
            built = subprocess.run(
                [bin_ / "kubectl", "kustomize", ROOT / "kubernetes" / place],
                capture_output=True, check=True,
            )  # fmt: skip
            (Path(folder) / f"{place.replace('/', '-')}.yaml").write_bytes(built.stdout)
        done = subprocess.run(
            [bin_ / "checkov", "-d", folder, "--framework", "kubernetes", "--output", "json",
             "--skip-download", "--skip-check", ",".join(NOT_FOLLOWED)],
            capture_output=True, text=True, check=False,
            env={**os.environ, "LOG_LEVEL": "ERROR"},
        )  # fmt: skip
    report = json.loads(done.stdout)
    for one in report["results"]["failed_checks"]:
        print(f"{one['check_id']} {one['check_name']}: {one['file_path']} {one['resource']}")
    summary = report["summary"]
    print(f"{summary['passed']} passed, {summary['failed']} failed; not followed: {NOT_FOLLOWED}")
    return int(summary["failed"] > 0 or summary["passed"] < 300)


if __name__ == "__main__":
    sys.exit(main())
