"""Names of the precisions to build in, as the command line takes them; does not wait for torch."""

from __future__ import annotations

from typing import Final

from iqa.network.runtime import PRECISIONS

AUTO: Final = "auto"
CHOICES: Final = (*PRECISIONS, AUTO)
