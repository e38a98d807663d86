"""The commands of this project, found where they are."""

from __future__ import annotations

from console.paths import ROOT

COMMANDS = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("training", "scripts", "benchmarks")
    for path in (ROOT / folder).glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text() and path.stem != "__main__"
)
