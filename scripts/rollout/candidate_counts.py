"""
What a candidate and the old version did in the same time, counted.

The front has a line for each request: who was asked, what came, after how long. The workers count
scores by version, and report once a second.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

from scripts.nginx.split import OLD_SOCKET, SplitFront
from scripts.rollout.candidate_verdict import Arm
from scripts.server.client import TorchServe
from scripts.server.http_client import samples

TENTHS: Final = "iqa_score_tenths_total", "tenth"
LABELS: Final = "iqa_scores_total", "label"
LOST: Final = (404, 408)
"""Of TorchServe's own 4xx: the version is not loaded, or took too long."""


class Evidence:
    """
    Counts from now on.

    Args:
        server: The model.
        front: Its front, whose split is on.
        version: The candidate.
        old: The version before.
    """

    def __init__(self, server: TorchServe, front: SplitFront, version: str, old: str) -> None:
        self._server, self._front = server, front
        self._versions = {"new": version, "old": old}
        self._paths = front.paths_of(server.model_name)
        self._arms = {"new": Arm(), "old": Arm()}
        self._read_to = front.log.stat().st_size if front.log.exists() else 0
        self._own: Counter[str] = Counter()
        self._before = {arm: self._counts(arm) for arm in self._arms}

    def leave_out(self, name: str) -> None:
        """Do not count a score of the candidate: of a golden image, which is nobody's request."""
        self._own[name] += 1

    def look(self) -> tuple[Arm, Arm]:
        """
        Return what the candidate did so far, and the old version.

        Raises:
            NotNow: The server does not answer.
        """
        self._read_log()
        for name, arm in self._arms.items():
            counts = {series: count for series, count in self._counts(name).items()}
            for series, count in self._before[name].items():
                counts[series] -= count
            if name == "new":
                counts[TENTHS[0]] -= self._own
                counts[LABELS[0]] -= self._own
            arm.scores = counts[TENTHS[0]] if counts[TENTHS[0]].total() else counts[LABELS[0]]
        return self._arms["new"], self._arms["old"]

    def _counts(self, arm: str) -> dict[str, Counter[str]]:
        found = {}
        for series, label in (TENTHS, LABELS):
            found[series] = Counter(
                {
                    labels[label]: int(count)
                    for labels, count in samples(self._server.addresses, series)
                    if labels["ModelName"] == self._server.model_name
                    and labels["ModelVersion"] == self._versions[arm]
                }
            )
        return found

    def _read_log(self) -> None:
        try:
            with self._front.log.open("rb") as log:
                log.seek(self._read_to)
                text = log.read()
        except FileNotFoundError:
            return
        whole, _, _ = text.rpartition(b"\n")
        self._read_to += len(whole) + bool(whole)
        for line in whole.splitlines():
            told = json.loads(line)
            if told["path"] in self._paths:
                count(self._arms[told["arm"]], told)


def count(arm: Arm, line: dict[str, str]) -> None:
    """
    Count a request of the front's log.

    Args:
        arm: Of the line's version.
        line: `asked`, `answers` and `seconds` name, with commas between them, who was asked: the
            candidate, then perhaps the door to the old version. The old version is the last one.
    """
    is_new = line["arm"] == "new"
    place = 0 if is_new else -1
    asked, answer, seconds = (
        line[key].split(", ")[place] for key in ("asked", "answers", "seconds")
    )
    # A group's name, without a colon: nobody in it had room.
    if ":" not in asked or asked.endswith(f"/{OLD_SOCKET}"):
        arm.kept_out += 1
        return
    status = int(answer) if answer.isdecimal() else 0
    if 200 <= status < 300:
        arm.seconds.append(float(seconds))
    elif 400 <= status < 500 and status not in LOST:
        arm.refused += 1
    else:
        arm.failed += 1
