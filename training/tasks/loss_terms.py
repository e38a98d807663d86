"""Which terms each loss of quality is the sum of; does not wait for torch."""

from __future__ import annotations

from typing import Final

# Both terms then weigh about the same in the first epoch (0.03 x 10 against 0.3), and the
# error term still pulls when the correlation is high.
MSE_WEIGHT: Final = 10.0

TERMS_OF_LOSS: Final[dict[str, dict[str, float]]] = {
    "mse": {"mse": 1.0},
    "huber": {"huber": 1.0},
    "mse+nin": {"mse": MSE_WEIGHT, "norm-in-norm": 1.0},
    "huber+nin": {"huber": MSE_WEIGHT, "norm-in-norm": 1.0},
    "mse+rank": {"mse": MSE_WEIGHT, "pairwise hinge": 1.0},
    "mse+nin+rank": {"mse": MSE_WEIGHT, "norm-in-norm": 1.0, "pairwise hinge": 1.0},
}
"""Name on the command line -> {term of `training.tasks.losses`: weight}."""
