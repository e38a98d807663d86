"""Measure pictures as the server does, each once: what was measured is kept in a file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from iqa.drift.measures import NAMES, Measures, of_pixels, projection
from iqa.errors import ImageRejected
from iqa.imaging.decoding import decode
from iqa.imaging.statistics import N_STATISTICS
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE, QUANTISED_GRAPH_FILE, OpenVINORuntime
from iqa.scoring.scorer import Scorer
from tqdm import tqdm

from training.data.dataset_layouts import ImageFile
from training.data.distortions import DISTORTIONS
from training.data.images import NO_LIMITS
from training.graph import precision
from training.graph.export import export_onnx

logger = logging.getLogger(__name__)

Damage = tuple[str, int]
"""Name and level, of `training.data.distortions`."""
AS_IT_IS: Final[Damage] = ("", 0)


@contextmanager
def open_scorer(
    directory: Path, network: Network, card: Mapping[str, Any], graph: Path | None
) -> Iterator[Scorer]:
    """
    Open a model as it is served, measuring.

    Args:
        directory: Of the checkpoint: its heads are read.
        network: Of the checkpoint.
        card: Of the checkpoint.
        graph: Folder of the graph that is served; None: the network's own in float32.

    Raises:
        CheckpointMismatch: It was written by other code, or by hand.
        ValueError: The network takes no colour images, or the graph is another network's.
    """
    with TemporaryDirectory() as folder:
        name, path = "f32", Path(folder) / GRAPH_FILE
        if graph is None:
            export_onnx(network, path)
        else:
            name = precision.read_gate(graph, card["weights_sha256"]).precision
            path = graph / (QUANTISED_GRAPH_FILE if name == "int8" else GRAPH_FILE)
        scorer = Scorer(
            directory,
            card,
            lambda backbone: OpenVINORuntime(path, 1, name, backbone),
            name,
            measures=True,
        )
        if scorer.policy.n_channels != 3:
            raise ValueError(
                "--checkpoint: expected a network of colour images, got one of "
                f"{scorer.policy.n_channels} channels. Drift is measured on colours."
            )
        yield scorer


def measure(
    scorer: Scorer,
    pictures: Sequence[ImageFile],
    cache: Path,
    title: str,
    damages: Sequence[Damage] | None = None,
) -> list[Measures | None]:
    """
    Measure pictures, or a damaged copy of each.

    Args:
        scorer: Of `open_scorer`.
        pictures: Files.
        cache: File that keeps what was measured with this scorer, a line a copy; it may be
            continued after Ctrl-C.
        title: Of the progress bar.
        damages: For each picture what is done to it, at the size that its decoder delivers.

    Returns:
        Of each picture its measures; None where the server would refuse it.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    known = _known(cache)
    found: list[Measures | None] = []
    with cache.open("a") as file:
        for place, picture in enumerate(tqdm(pictures, desc=title, unit="picture")):
            name, level = AS_IT_IS if damages is None else damages[place]
            body = picture.read_bytes()
            digest = hashlib.sha256(body).hexdigest()
            key = f"{digest} {name} {level}"
            if key not in known:
                try:
                    known[key] = _measured(scorer, body, digest, name, level)
                except ImageRejected as rejection:
                    logger.warning("%s: left out: %s", picture, rejection)
                    found.append(None)
                    continue
                file.write(json.dumps({"key": key, "measures": known[key]}) + "\n")
            found.append(known[key])
    return found


def cache_folder(folder: Path, scorer: Scorer, card: Mapping[str, Any]) -> Path:
    """Return where measures by this network are kept; other measures lie elsewhere."""
    example = np.linspace(0, 1, N_STATISTICS, dtype=np.float32)  # what is made of it tells how
    identity = [
        card["weights_sha256"], card.get("calibration"), card.get("heads"),
        scorer.runtime.precision, NAMES, of_pixels(example), projection(8).tolist(),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return folder / digest[:12]


def _known(cache: Path) -> dict[str, Measures]:
    known: dict[str, Measures] = {}
    if cache.exists():
        for line in cache.read_text().splitlines():
            try:
                told = json.loads(line)
            except ValueError:  # its writer was killed
                continue
            known[told["key"]] = told["measures"]
    return known


def _measured(scorer: Scorer, body: bytes, digest: str, damage: str, level: int) -> Measures:
    decoded = decode(body, NO_LIMITS, scorer.policy)
    if damage:
        rng = np.random.default_rng((int(digest[:12], 16), level))
        decoded = replace(decoded, image=DISTORTIONS[damage](decoded.image, level, rng))
    (seen,) = scorer.look(decoded.pixels()[None])
    return scorer.measures(decoded, seen, scorer.reply(decoded, seen))
