"""
One worker process: names of images on standard input, rows on standard output.

    python -m scripts.batch.worker '{"model": FOLDER, "code": FOLDER, ...}'

A line in is a batch: `[[index, name], ...]`. A line out is `["ready", {...}]` once,
`["decoded", index]` when an image is a picture, `["row", index, row]`, or `["refused", message]`
where the model cannot be opened. The package `iqa` is the model's own: an archive brings the code
that it was proven with, as it does for TorchServe.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scripts.batch import source
from scripts.batch.rows import FILENAME, PRECISION, Row, flat, refused

if TYPE_CHECKING:
    import numpy as np
    from iqa.imaging.decoding import DecodedImage
    from iqa.scoring.scorer import Seen
    from numpy.typing import NDArray

READERS: Final = 8
"""Threads that fetch the next images of a batch from a remote file system."""
DIES_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, linux/prctl.h


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    What a worker is started with.

    Attributes:
        model: Folder of the graph and its card.
        code: Folder that holds the package `iqa`.
        root: Folder or address that the names lie in; "" where they are complete.
        runtime: openvino or torch.
        max_bytes: Larger files are refused.
        max_pixels: Larger pictures are refused.
    """

    model: str
    code: str
    root: str
    runtime: str
    max_bytes: int
    max_pixels: int

    def text(self) -> str:
        """Return it as the worker's argument."""
        return json.dumps(asdict(self))


@dataclass(kw_only=True)
class Picture:
    """An image that was read: with its pixels, or with the row that says why not."""

    index: int
    row: Row
    decoded: DecodedImage | None = None
    pixels: NDArray[np.uint8] | None = None


class Scorer:
    """
    The model, loaded; what the handler does with a request, for a file.

    Raises:
        FileNotFoundError: The runtime's files are not in the folder.
        ValueError: The card or the runtime is refused.
    """

    def __init__(self, settings: Settings) -> None:
        from iqa.imaging.decoding import Limits
        from iqa.network.runtime import PROVENANCE_FILE, open_runtime
        from iqa.scoring.scorer import Scorer as Model
        from iqa.tasks.task import CARD_FILE

        folder = Path(settings.model)
        self._limits = Limits(max_bytes=settings.max_bytes, max_pixels=settings.max_pixels)
        provenance = folder / PROVENANCE_FILE
        told = json.loads(provenance.read_text()) if provenance.is_file() else {}
        self._model = Model(
            folder,
            json.loads((folder / CARD_FILE).read_text()),
            lambda backbone: open_runtime(folder, settings.runtime, 1, backbone),
            told.get("precision"),
        )
        self._runtime = self._model.runtime

    def facts(self) -> dict[str, Any]:
        """Return what runs, and a reply whose values mean nothing: its keys are the columns."""
        return {
            "runtime": self._runtime.name,
            "precision": self._runtime.precision,
            "sample": self._model.sample_reply(),
        }

    def read(self, index: int, name: str, body: bytes | Row) -> Picture:
        """Decode and preprocess one image."""
        from iqa.errors import ImageRejected
        from iqa.imaging.decoding import decode

        if not isinstance(body, bytes):
            return Picture(index=index, row=body)
        try:
            decoded = decode(body, self._limits, self._model.policy)
            pixels = decoded.pixels()
        except ImageRejected as rejection:
            return Picture(index=index, row=refused(name, rejection.reason, str(rejection)))
        except Exception as error:  # a decoder's fault in one file is not the neighbours' fault
            return Picture(index=index, row=_failed(name, error))
        return Picture(index=index, row={FILENAME: name}, decoded=decoded, pixels=pixels)

    def judge(self, pictures: list[Picture]) -> None:
        """Complete the rows of images that were read."""
        import numpy as np

        for stack in self._stacks([picture for picture in pictures if picture.pixels is not None]):
            try:
                arrays = [picture.pixels for picture in stack if picture.pixels is not None]
                batch_NHWC = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
                for picture, seen in zip(stack, self._model.look(batch_NHWC), strict=True):
                    picture.row = self._row(picture, seen)
            except Exception as error:
                for picture in stack:
                    picture.row = _failed(picture.row[FILENAME], error)

    def is_stacked(self, picture: Picture) -> bool:
        """Tell whether it takes less time together with others than alone."""
        if picture.pixels is None:
            return False
        height_px, width_px = picture.pixels.shape[:2]
        return bool(height_px * width_px <= self._runtime.stacks_up_to_px)

    def _stacks(self, pictures: list[Picture]) -> Iterator[list[Picture]]:
        by_shape: dict[tuple[int, ...], list[Picture]] = {}
        for picture in pictures:
            assert picture.pixels is not None  # it was read
            by_shape.setdefault(picture.pixels.shape, []).append(picture)
        yield from by_shape.values()

    def _row(self, picture: Picture, seen: Seen) -> Row:
        assert picture.decoded is not None  # it has pixels
        reply = flat(self._model.reply(picture.decoded, seen))
        return {FILENAME: picture.row[FILENAME], **reply, PRECISION: self._runtime.precision}


def main(argv: list[str]) -> int:
    """Score until standard input ends."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the parent says when to stop
    faulthandler.enable()
    # What a library prints must not come between the rows.
    replies = os.dup(1)
    os.dup2(2, 1)
    settings = Settings(**json.loads(argv[0]))
    sys.path.insert(0, settings.code)

    def send(*message: object) -> None:
        _write(replies, (json.dumps(message) + "\n").encode())

    try:
        scorer = Scorer(settings)
    except Exception as error:
        send("refused", str(error) or type(error).__name__)
        return 1
    gc.collect()
    gc.freeze()
    send("ready", scorer.facts())
    with ThreadPoolExecutor(READERS) as readers:
        for line in sys.stdin.buffer:
            batch = json.loads(line)
            pictures = []
            for index, name, body in _bodies(batch, settings, readers):
                picture = scorer.read(index, name, body)
                send("decoded", index)
                if scorer.is_stacked(picture):
                    pictures.append(picture)
                else:
                    scorer.judge([picture])
                    send("row", index, picture.row)
            scorer.judge(pictures)
            for picture in pictures:
                send("row", picture.index, picture.row)
    return 0


def _bodies(
    batch: list[tuple[int, str]], settings: Settings, readers: ThreadPoolExecutor
) -> Iterator[tuple[int, str, bytes | Row]]:
    """Read a batch: local files one after the other, remote ones several at a time, in order."""
    ahead: list[tuple[int, str, Future[bytes | Row]]] = []
    for index, name in batch:
        address = source.join(settings.root, name)
        if source.is_remote(address):
            reading = readers.submit(source.read, name, address, settings.max_bytes)
            ahead.append((index, name, reading))
        else:
            yield index, name, source.read(name, address, settings.max_bytes)
    for index, name, reading in ahead:
        yield index, name, reading.result()


def _failed(name: str, error: Exception) -> Row:
    told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return refused(name, "failed", f"image: expected a score, got an error of ours: {told}")


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _die_with_parent() -> None:
    """End with the parent however it ends: a worker that hangs would not notice by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
