"""The one list of commands: read from the files themselves, for `python -m scripts` and a test."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from console.paths import ROOT

IS_COMMAND: Final = 'if __name__ == "__main__":'


def commands(package: str) -> dict[str, str]:
    """
    Return the commands of a package, and what each is for.

    Nothing is imported: a list of names must not wait for torch.

    Args:
        package: `scripts` or `training`.

    Returns:
        {module, e.g. "scripts.deploy": first line of its docstring}, by name.
    """
    found = {}
    for path in sorted((ROOT / package).glob("*.py")):
        if IS_COMMAND in path.read_text() and path.stem != "__main__":
            found[f"{package}.{path.stem}"] = _first_line(path)
    return found


def packages(package: str) -> dict[str, str]:
    """Return the packages inside a package, and what each is for, as `commands` does."""
    return {
        f"{package}.{path.parent.name}": _first_line(path)
        for path in sorted((ROOT / package).glob("*/__init__.py"))
    }


def page(package: str) -> str:
    """Return the list for a terminal: a line for each command."""
    lines = {f"python -m {name}": line for name, line in commands(package).items()}
    width = max(map(len, lines))
    listed = "\n".join(f"{name:<{width}}  {line}" for name, line in lines.items())
    return f"{listed}\n\nEach explains itself with --help."


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.split("\n", 1)[0]
