"""
A model that runs in this process: a picture in, the served reply out.

The same decode, graph and reading of its output as behind HTTP, so the same score; on OpenVINO, so
that neither torch nor a server is needed.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any, Final, TypeAlias, cast, overload

import numpy as np
from iqa.imaging.decoding import DecodedImage, Limits, decode, of_image
from iqa.network.runtime import (
    GRAPH_FILE,
    PROVENANCE_FILE,
    QUANTISED_GRAPH_FILE,
    Runtime,
    open_runtime,
)
from iqa.scoring.scorer import Scorer
from iqa.tasks.heads import HEADS_FILE
from iqa.tasks.task import CARD_FILE, Reply
from numpy.typing import NDArray
from PIL import Image

Picture: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, a file's bytes, a PIL image, or uint8 (H, W, 3) RGB, (H, W, 4) RGBA, (H, W) grey."""

WEIGHTS_FILE: Final = "model.safetensors"
WANTED: Final = (
    GRAPH_FILE,
    QUANTISED_GRAPH_FILE,
    "model.bin",
    WEIGHTS_FILE,  # a float32 graph points into it
    CARD_FILE,
    HEADS_FILE,
    PROVENANCE_FILE,
)
"""What of an archive is read: its code is never run."""
SHIPPED: Final = Path(__file__).parents[1] / "shipped"
# In a checkout: the same graph and card, where training keeps them.
CHECKOUT: Final = Path(__file__).parents[3] / "training" / "pretrained"


class Score(float):
    """
    A score in [0, 100], higher is better, with the rest of the reply.

    Attributes:
        label: poor, fair, good or excellent.
        interval: (low, high), what people would say lies in it `coverage` of the time; None where
            the model promises none.
        warnings: What was changed or left out when the picture was read.
        reply: All of it, as `Model.predict` returns it.
    """

    label: str
    interval: tuple[float, float] | None
    warnings: tuple[str, ...]
    reply: Reply

    @classmethod
    def of_reply(cls, reply: Reply) -> Score:
        """Return the score of a reply that has one."""
        score = cls(reply["score"])
        score.reply, score.label = reply, reply["label"]
        score.interval = tuple(reply["interval"]) if "interval" in reply else None
        score.warnings = tuple(reply["warnings"])
        return score


def load(path: str | os.PathLike[str] | None = None, threads: int = 1) -> Model:
    """
    Load a model.

    Args:
        path: An archive (`iqa-3.mar`), a folder with what is in one, or a checkpoint (which needs
            torch); None loads the shipped model.
        threads: Of the processor, for each picture.

    Raises:
        FileNotFoundError: There is no model at the path.
        ValueError: It is none that this version of `iqa` can run.
    """
    if path is None:
        return _load_shipped(threads)
    place = Path(path)
    if place.is_dir():
        return Model(place, threads=threads)
    if not place.is_file():
        raise FileNotFoundError(f"model: expected an archive or a folder, got none at {place}.")
    try:
        with zipfile.ZipFile(place) as archive, tempfile.TemporaryDirectory() as folder:
            for name in set(archive.namelist()) & set(WANTED):
                Path(folder, name).write_bytes(archive.read(name))
            return Model(Path(folder), threads=threads)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{place}: expected an archive of scripts.build_mar, got no zip."
        ) from error


def _load_shipped(threads: int) -> Model:
    if SHIPPED.is_dir():
        return Model(SHIPPED, threads=threads)
    graph = CHECKOUT / "precision" / "bf16"
    if not (graph / GRAPH_FILE).is_file():
        raise FileNotFoundError(
            f"model: expected the shipped one in {SHIPPED}, got none. Install the package "
            "(pip install .), or name an archive: iqa.load('iqa-1.mar')"
        )
    return Model(graph, card=CHECKOUT / CARD_FILE, threads=threads, precision="bf16")


class Model:
    """
    A loaded model. It may be used from several threads; they take turns.

    Args:
        directory: With the graph and, unless they are given, its card and provenance.
        card: The card's file; default: in the directory.
        threads: See `load`.
        precision: Of the graph; default: as the directory's provenance says, or float32.

    Attributes:
        name: Of the registered model, `iqa` where nothing says another.
        version: The registry's, or `shipped`.
        task: `quality`, or another one of `iqa.tasks`.
        precision: What it computes in on this machine: f32, bf16 or int8.
    """

    def __init__(
        self,
        directory: Path,
        *,
        card: Path | None = None,
        threads: int = 1,
        precision: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        document = _read(card or directory / CARD_FILE)
        provenance = _read(directory / PROVENANCE_FILE, {})
        named = provenance.get("model", {})
        self.name, self.version = named.get("name", "iqa"), named.get("version", "shipped")
        self._limits = limits or Limits()
        self._scorer = Scorer(
            (card or directory / CARD_FILE).parent,
            document,
            lambda backbone: _open(directory, threads, precision, backbone),
            precision or provenance.get("precision"),
        )
        self.task = self._scorer.task.name
        self.precision = self._scorer.runtime.precision
        self._turn = threading.Lock()

    @overload
    def score(self, picture: Picture) -> Score: ...

    @overload
    def score(self, picture: list[Any] | tuple[Any, ...]) -> list[Score]: ...

    def score(self, picture: Picture | list[Any] | tuple[Any, ...]) -> Score | list[Score]:
        """
        Score a picture, or each of a list.

        Args:
            picture: See `Picture`; or a list of such.

        Returns:
            A float in [0, 100] with `label`, `interval`, `warnings`; of a list, a list.

        Raises:
            ImageRejected: It cannot be scored; `reason` says why, the message what to do.
            OSError: There is no such file.
            TypeError: It is no picture.
            ValueError: The model is of a task without scores: call `predict`.
        """
        if isinstance(picture, list | tuple):
            return [self.score(one) for one in picture]
        reply = self.predict(picture)
        if "score" not in reply:
            raise ValueError(
                f"model {self.name}: expected one that scores, got one of {self.task}. "
                "Call predict in place of score."
            )
        return Score.of_reply(reply)

    def predict(self, picture: Picture) -> Reply:
        """
        Return the reply that a server gives for a picture: see docs/api.md.

        Raises:
            ImageRejected: See `score`.
            OSError: There is no such file.
            TypeError: It is no picture.
        """
        decoded = self._decoded(picture)
        pixels = decoded.pixels()
        with self._turn:
            (seen,) = self._scorer.look(pixels[None])
        return self._scorer.reply(decoded, seen, {"name": self.name, "version": self.version})

    def _decoded(self, picture: Picture) -> DecodedImage:
        if isinstance(picture, bytes | bytearray | memoryview):
            return decode(bytes(picture), self._limits, self._scorer.policy)
        if isinstance(picture, str | os.PathLike):
            return decode(Path(picture).read_bytes(), self._limits, self._scorer.policy)
        if isinstance(picture, np.ndarray):
            picture = image_of_array(picture)
        if not isinstance(picture, Image.Image):
            raise TypeError(
                "picture: expected a path, bytes, a PIL image or a numpy array, "
                f"got {type(picture).__name__}."
            )
        return of_image(picture, self._limits, self._scorer.policy)


def image_of_array(array: NDArray[Any]) -> Image.Image:
    """
    Return an array as an image.

    Args:
        array: uint8, shape (H, W, 3) RGB, (H, W, 4) RGBA, (H, W, 1) or (H, W) grey.

    Raises:
        TypeError: Another shape or type.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise TypeError(
            "picture: expected an array of uint8 and shape (H, W, 3), "
            f"got {array.dtype} and {array.shape}. Scale floats to 0-255 and convert them."
        )
    if 0 in array.shape:
        raise TypeError(f"picture: expected pixels, got an array of shape {array.shape}.")
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and channels == 1 else array)


def _open(directory: Path, threads: int, precision: str | None, backbone: str | None) -> Runtime:
    from iqa.network.runtime import OpenVINORuntime

    has_graph = any((directory / name).is_file() for name in (GRAPH_FILE, QUANTISED_GRAPH_FILE))
    if has_graph and precision is not None:
        return cast(Runtime, OpenVINORuntime(directory / GRAPH_FILE, threads, precision, backbone))
    if not has_graph and not (directory / WEIGHTS_FILE).is_file():
        raise FileNotFoundError(
            f"{directory}: expected {GRAPH_FILE} or {WEIGHTS_FILE}, got neither. "
            "Name an archive (iqa-1.mar), or a checkpoint of training."
        )
    return open_runtime(directory, "openvino" if has_graph else "torch", threads, backbone)


def _read(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Return a JSON document.

    Raises:
        FileNotFoundError: There is none, and no default.
        ValueError: It is none.
    """
    if default is not None and not path.is_file():
        return default
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path.parent}: expected {path.name} in it, got none. Name an archive of "
            "scripts.build_mar, or a checkpoint of training."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got: {error}") from error
    return document
