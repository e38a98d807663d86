"""Which networks are a user's own; does not wait for torch."""

from __future__ import annotations


def is_own(backbone: str) -> bool:
    """
    Tell whether a name is that of a user's own network: `module:function`, or `timm:NAME`.

    Its code is not in this package. Training finds it by the name (`training.networks`); what
    serves runs its graph, and never imports it.
    """
    return ":" in backbone
