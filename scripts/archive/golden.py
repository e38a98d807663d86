"""
The golden pictures of an archive, scored by a server that has it loaded.

The pictures, their scores and the precision of these scores are in the archive itself, so nothing
of this checkout can stand in for what is served.
"""

from __future__ import annotations

import itertools
import json
import math
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from iqa.tasks.counted_labels import OTHER_LABELS, counted_labels
from iqa.tasks.score_deciles import tenth_of_score
from iqa.tasks.task import CARD_FILE, Card, Task, in_words, label_of
from iqa.tasks.task_table import task_of

from scripts.archive import mar_file
from scripts.server.client import TorchServe
from scripts.server.http_client import NotNow, is_full

SAME_PRECISION: Final = 0.05
"""In points: five times what the arithmetic of two machines differs by."""
OTHER_PRECISION: Final = 1.0
"""In points: how far bf16 or int8 may move a score from that of the float32 network."""
ROUNDS_PER_WORKER: Final = 3
"""Warm-up images a worker: the first are slow, and a shared queue spreads them by chance."""


class NotGolden(ValueError):
    """A version does not give the scores that it was proven with."""


@dataclass(frozen=True, kw_only=True)
class Golden:
    """
    What a version must answer.

    Attributes:
        version: Version in the registry.
        pictures: (file name, content, the reply on record).
        tolerance: How far a reply may lie from it, in hundredths of the scale.
        task: Tells how far two replies lie apart.
        card: The archive's; names the labels.
    """

    version: str
    pictures: list[tuple[str, bytes, Mapping[str, Any]]]
    tolerance: float
    task: Task
    card: Card = field(default_factory=dict)

    def compare(self, index: int, code: int, reply: dict[str, Any]) -> float:
        """
        Return by how many points a reply to picture `index` is off.

        Raises:
            NotGolden: It is no score, another version's, or off by more than the tolerance.
        """
        name, _, expected = self.pictures[index]
        if code != 200:
            message = reply.get("message", reply)
            raise NotGolden(f"{name}: expected a score, got {code}: {message}.")
        answered = reply.get("model", {}).get("version")
        if answered != self.version:
            raise NotGolden(f"{name}: expected version {self.version} to answer, got {answered}.")
        try:
            difference = self.task.difference(expected, reply)
        except (KeyError, TypeError, ValueError):  # a reply of another kind
            difference = math.inf
        if not difference <= self.tolerance:  # also where it is no number
            raise NotGolden(
                f"{name}: expected {in_words(expected)} to {self.tolerance:g} of a point, got "
                f"{in_words(reply)}. The served network is not the proven one."
            )
        return difference

    def counted_as(self, reply: Mapping[str, Any]) -> str:
        """Return as what a worker counts a reply: the tenth of its score, else its label."""
        score = reply.get("score")
        if score is not None:
            return tenth_of_score(score)
        counted = counted_labels(self.task.labels(self.card))
        return counted.get(label_of(reply) or "", OTHER_LABELS)


def golden_of(mar: Path, version: str, told: dict[str, Any]) -> Golden:
    """
    Read what a version must answer.

    Args:
        mar: Its archive.
        version: Version in the registry.
        told: The loaded version's own provenance; names the precision that it computes in.

    Raises:
        ValueError: The archive is damaged, or without golden pictures.
    """
    provenance = mar_file.read_provenance(mar)
    with zipfile.ZipFile(mar) as packed:
        pictures = [
            (item["file"], packed.read(f"golden/{item['file']}"), item)
            for item in provenance.get("golden", [])
        ]
        card = json.loads(packed.read(CARD_FILE)) if CARD_FILE in packed.namelist() else {}
    if not pictures:
        raise ValueError(f"{mar.name}: expected golden pictures, got none. Rebuild the archive.")
    recorded = provenance.get("precision")
    computed = precision_told(told) or recorded
    # What the gate let through may lie between the two precisions.
    gate = provenance.get("gate") or {}
    other = max(OTHER_PRECISION, float(gate.get("max_points", 0.0)))
    tolerance = SAME_PRECISION if computed == recorded else other
    task = task_of(provenance)
    return Golden(version=version, pictures=pictures, tolerance=tolerance, task=task, card=card)


def shortly(reply: Mapping[str, Any]) -> str:
    """Return a reply as a command prints it: score and label, or label and confidence."""
    label = str(reply.get("label", reply.get("predicted_label")))
    if "score" in reply:
        return f"{reply['score']:.2f} ({label})"
    return f"{label} ({reply['confidence']:.2f})" if "confidence" in reply else label


def precision_told(told: dict[str, Any]) -> str | None:
    """Return the precision that a loaded version says it computes in, or None."""
    runtime = told.get("runtime")
    return runtime.get("precision") if isinstance(runtime, dict) else None


def is_same(mar: Path, told: dict[str, Any]) -> bool:
    """Tell whether a loaded version was loaded from these bytes, by all its files' digests."""
    return bool(told) and json.dumps(told.get("sha256"), sort_keys=True) == json.dumps(
        mar_file.read_provenance(mar).get("sha256"), sort_keys=True
    )


def score_all(server: TorchServe, golden: Golden, workers: int) -> float:
    """
    Score the golden pictures with a version that has just been loaded, or was proven before.

    Args:
        server: Where it is loaded.
        golden: What it must answer.
        workers: As many at once, until each worker has had its share; 0 if all of them are warm:
            each picture once, one after the other, because the served version needs the cores.

    Returns:
        The largest difference from the scores on record, in points.

    Raises:
        NotGolden: A reply is not as proven.
        NotNow: No answer.
    """
    count = max(ROUNDS_PER_WORKER * workers, len(golden.pictures))
    indices = list(itertools.islice(itertools.cycle(range(len(golden.pictures))), count))

    def ask(index: int) -> float:
        code, reply = server.score(golden.pictures[index][1], golden.version)
        if is_full(code, reply):
            raise NotNow(f"version {golden.version}: expected room in its queue, got none.")
        return golden.compare(index, code, reply)

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        return max(pool.map(ask, indices))
