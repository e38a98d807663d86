"""Prometheus' text format, as much of it as the supervisor and the side-car need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, kw_only=True)
class Family:
    """
    One metric with all its label values.

    Attributes:
        name: With its unit, as Prometheus wants it: iqa_disk_free_bytes.
        kind: counter or gauge.
        help: One sentence.
        samples: Label values -> value; an empty one is left out with its name.
    """

    name: str
    kind: str
    help: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)


def single(name: str, kind: str, help: str, value: float | None) -> Family:
    """Return a metric without labels; None where its value is not known."""
    return Family(name=name, kind=kind, help=help, samples=[] if value is None else [({}, value)])


def page(families: Iterable[Family]) -> bytes:
    """Return what GET /metrics answers."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            told = ",".join(f'{key}="{text.translate(ESCAPES)}"' for key, text in labels.items())
            number = repr(float(value)) if math.isfinite(value) else "NaN"
            lines.append(f"{family.name}{{{told}}} {number}" if told else f"{family.name} {number}")
    return ("\n".join(lines) + "\n").encode()
