"""What an interrupted training run needs to go on: saved every two minutes and on Ctrl-C."""

from __future__ import annotations

import dataclasses
import math
import signal
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from training.loop.config import TrainConfig

STATE_FILE: Final = "state.pt"
# May differ between the interrupted run and its continuation; the digests cover the ratings that
# `columns` chooses.
FREE_SETTINGS: Final = frozenset(
    (
        "resume",
        "restart",
        "device",
        "workers",
        "out",
        "data_dir",
        "columns",
        "cache",
        "alias",
        "download",
    )
)


@dataclass(kw_only=True)
class RunState:
    """
    Where a run stands.

    Attributes:
        directory: The run's folder.
        settings: The configuration as text, to refuse a continuation with other settings.
        epoch: Finished epochs.
        step: Finished steps of the current epoch.
        epoch_seconds: Spent on all steps so far, without validation.
        history: One row of validation metrics an epoch.
        provenance: Commit and packages at the start: files may change while a run goes on.
    """

    directory: Path
    settings: dict[str, str]
    run_id: str | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history_loss: float = 0.0
    epoch_seconds: float = 0.0
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        config: TrainConfig,
        digests: dict[str, str],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: nn.Module | None = None,
    ) -> RunState:
        """
        Start a run in its folder, or continue the one that was interrupted there.

        Args:
            config: The run's.
            digests: Digests of the data's splits; a continuation must be on the same images.
            network: Gets the interrupted run's weights.
            optimizer: Gets its state.
            average: Gets the moving average, where the run keeps one.

        Raises:
            ValueError: An interrupted run is there and neither --resume nor --restart is given,
                or --resume finds none, or one with other settings.
        """
        directory = config.run_dir
        settings = {
            key: str(value)
            for key, value in dataclasses.asdict(config).items()
            if key not in FREE_SETTINGS
        } | {"digests": " ".join(digests.values())}
        path = directory / STATE_FILE
        if config.restart:
            path.unlink(missing_ok=True)
        if path.exists() and not config.resume:
            raise ValueError(
                f"{directory}: expected no interrupted run, found one. "
                "Add --resume to continue it or --restart to discard it."
            )
        if not config.resume:
            directory.mkdir(parents=True, exist_ok=True)
            return cls(directory=directory, settings=settings)
        if not path.exists():
            raise ValueError(f"--resume: expected an interrupted run in {directory}, found none.")
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        other = [key for key in settings if saved["state"]["settings"].get(key) != settings[key]]
        if other:
            was = ", ".join(f"{key}={saved['state']['settings'].get(key)}" for key in other)
            raise ValueError(
                f"--resume: expected the interrupted run's settings and pictures ({was}), got "
                f"{', '.join(f'{key}={settings[key]}' for key in other)}. "
                "Use the same, or --restart."
            )
        for group in saved["optimizer"]["param_groups"]:  # as it was named before torch's scheduler
            group.setdefault("initial_lr", group.pop("peak_lr", None))
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        if average is not None:
            average.load_state_dict(saved["average"])
        torch.set_rng_state(saved["rng"])
        torch.cuda.set_rng_state_all(saved["rng_cuda"][: torch.cuda.device_count()])
        return cls(directory=directory, **saved["state"])

    def save(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: nn.Module | None = None,
    ) -> None:
        """Write everything needed to continue, in one rename."""
        state = {k: v for k, v in vars(self).items() if k != "directory"}
        temporary = self.directory / (STATE_FILE + ".tmp")
        torch.save(
            {
                "state": state,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": None if average is None else average.state_dict(),
                "rng": torch.get_rng_state(),
                "rng_cuda": torch.cuda.get_rng_state_all(),  # empty without a GPU
            },
            temporary,
        )
        temporary.replace(self.directory / STATE_FILE)

    def close(self) -> None:
        """Forget the state of a run that is registered."""
        (self.directory / STATE_FILE).unlink(missing_ok=True)

    def after_step(self, loss: float) -> None:
        """Count a step."""
        self.step += 1
        self.loss_sum += loss

    @property
    def mean_loss(self) -> float:
        """Mean loss of the current epoch so far."""
        return self.loss_sum / max(self.step, 1)

    def end_epoch(self) -> None:
        """Count an epoch."""
        self.history_loss = self.mean_loss
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0

    def is_best(
        self, row: dict[str, float], rank: Callable[[dict[str, float]], tuple[float, ...]]
    ) -> bool:
        """
        Add an epoch's validation row; tell whether it is the best so far.

        Args:
            row: Metrics.
            rank: Greater for the better one; by its first number alone a later epoch is better.
        """
        # NaN is never better, and never in the way of a later number.
        earlier = [number for old in self.history if math.isfinite(number := rank(old)[0])]
        is_best = not self.history or rank(row)[0] > max(earlier, default=-math.inf)
        self.history.append({"epoch": float(self.epoch), **row})
        if is_best:
            self.best_epoch = self.epoch
        return is_best


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a flag, so that a run stops between two steps."""

    is_requested = False

    def __enter__(self) -> StopRequest:
        """Take the two signals over."""
        self._handlers = {
            number: signal.signal(number, self._request)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *exception: object) -> None:
        """Restore the two signals."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: types.FrameType | None) -> None:
        self.is_requested = True
