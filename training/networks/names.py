"""Names of networks as the command line takes them; does not wait for torch."""

from __future__ import annotations

import argparse
import re
from typing import Final

from iqa.network.names import NETWORKS

OF_A_FUNCTION: Final = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"
TIMM: Final = "timm:"
OF_TIMM: Final = r"timm:[A-Za-z][\w.]*"


def network_name(text: str) -> str:
    """Check a name of `NETWORKS`, `module:function` or `timm:NAME`; for argparse."""
    if text in NETWORKS or re.fullmatch(rf"{OF_A_FUNCTION}|{OF_TIMM}", text):
        return text
    raise argparse.ArgumentTypeError(
        f"expected one of {', '.join(NETWORKS)}, or module:function, or timm:NAME, got {text!r}."
    )
