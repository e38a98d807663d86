"""The stand-in for torch, in an interpreter of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.archive.mar_file import STAND_IN


def run(folder: Path, program: str) -> str:
    """Run a program that finds the stand-in before the real package, as a worker does."""
    shutil.copyfile(STAND_IN, folder / "torch.py")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}"],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torchserves_protocol_works_without_torch(tmp_path: Path) -> None:
    """A reply of text is encoded, and nothing of the real package was loaded."""
    told = run(
        tmp_path,
        "from ts.protocol.otf_message_handler import create_predict_response as encode\n"
        "class Context:\n"
        "    stopping_criteria = None\n"
        "    def get_response_headers(self, i): return {}\n"
        "    def get_response_content_type(self, i): return ''\n"
        "    def get_response_status(self, i): return 200, ''\n"
        "assert b'score' in encode([{'score': 1}], {0: 'id'}, 'ok', 200, Context())\n"
        "print(sorted(name for name in sys.modules if name.startswith('torch')))\n",
    )
    assert told.strip() == "['torch']"


@pytest.mark.parametrize(
    "statement", ["import torch.nn", "from torch import nn", "import torch; torch.zeros(1)"]
)
def test_whoever_needs_torch_gets_it(tmp_path: Path, statement: str) -> None:
    """The first use of anything else loads the real package under its own name."""
    told = run(tmp_path, f"import torch\n{statement}\nprint(sys.modules['torch'].__file__)\n")
    assert "site-packages" in told
