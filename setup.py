"""
Build the wheel: `handler/iqa`, and in it the shipped model. All else stands in pyproject.toml.

The graph, the card and the types lie elsewhere in the project, or would go into each archive.
"""

import json
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PRETRAINED = ROOT / "training" / "pretrained"
PRECISION = "bf16"  # as build_mar chooses for the shipped model


class BuildWithModel(build_py):
    """Copies the package, and adds the model and the types."""

    def run(self) -> None:
        """Build."""
        super().run()
        package = Path(self.build_lib) / "iqa"
        shipped = package / "shipped"
        shipped.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PRETRAINED / "precision" / PRECISION / "model.onnx", shipped / "model.onnx")
        for name in ("model.json", "model.heads.safetensors"):
            shutil.copyfile(PRETRAINED / name, shipped / name)
        told = {"model": {"name": "iqa", "version": "shipped"}, "precision": PRECISION}
        (shipped / "provenance.json").write_text(json.dumps(told) + "\n")
        shutil.copyfile(ROOT / "package" / "__init__.pyi", package / "__init__.pyi")
        (package / "py.typed").touch()


setup(cmdclass={"build_py": BuildWithModel})
