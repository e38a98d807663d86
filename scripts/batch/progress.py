"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import collections
import contextlib
import logging
import sys
import time
from typing import Final

from tqdm import tqdm

from scripts.batch.rows import REASON, Row

logger = logging.getLogger(__name__)

LINE_EVERY_S: Final = 10.0


class Progress:
    """
    Counts rows.

    Args:
        total: Images of the whole run.
        done: Of them, those that had their row before.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._done = done
        self._before = done
        self._started_s = self._said_s = time.monotonic()
        self.reasons: collections.Counter[str] = collections.Counter()
        self._bar = (
            tqdm(total=total, initial=done, unit="image", smoothing=0.05, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def add(self, row: Row) -> None:
        """Count a row that was done now."""
        self._done += 1
        if REASON in row:
            self.reasons[row[REASON]] += 1
        if self._bar is not None:
            if REASON in row:
                self._bar.set_postfix_str(f"{self.reasons.total()} not scored", refresh=False)
            self._bar.update()
        elif time.monotonic() - self._said_s > LINE_EVERY_S:
            self._say()

    def close(self) -> None:
        """Leave the terminal as it is wanted for what follows."""
        if self._bar is not None:
            with contextlib.suppress(OSError):  # a terminal that is gone
                self._bar.close()
        elif self._done > self._before:
            self._say()

    @property
    def rate_per_s(self) -> float:
        """Images a second, of those that were done now."""
        return (self._done - self._before) / max(time.monotonic() - self._started_s, 1e-9)

    def _say(self) -> None:
        self._said_s = time.monotonic()
        left_s = (self._total - self._done) / max(self.rate_per_s, 1e-9)
        refused = f", {self.reasons.total()} not scored" if self.reasons else ""
        logger.info(
            "%d of %d images, %.1f a second, %s left%s",
            self._done, self._total, self.rate_per_s, in_time(left_s), refused,
        )  # fmt: skip


def in_time(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
