"""
The trainer: epochs of steps, validation after each, the best network kept, Ctrl-C survived.

`training.train` tests and registers what it gives, `training.ablation` only compares it on
validation.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import mlflow
import numpy as np
import torch
from iqa.network import checkpoint
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from training.compute.device import choose_device, prepare
from training.compute.parallel import ONE_PROCESS, ProcessGroup
from training.data.ratings import Ratings
from training.data.whole_images import kept_in_memory
from training.loop.config import TrainConfig
from training.loop.loading import training_loader
from training.loop.optimiser import evaluated_network
from training.loop.run_state import RunState, StopRequest
from training.loop.schedule import rate_scheduler
from training.loop.starting_weights import identity_of, starting_network
from training.loop.step import Step
from training.loop.teacher import taught
from training.loop.trainable_layers import freeze
from training.measure.predict import BATCH_SIZE, predict, torch_predictor
from training.registry import dvc_lock, tracking
from training.tasks.task import TrainingTask

logger = logging.getLogger(__name__)

BEST: Final = "best"
"""Folder of the best epoch's checkpoint, in the run's."""
SAVE_EVERY_S: Final = 120.0


class Trainer:
    """
    One training run, or the rest of an interrupted one.

    Args:
        config: The run.
        task: What is learned.
        data: Its images.
        digests: Digests of the splits.
        processes: They train it together; the first one saves and logs.

    Attributes:
        state: Where the run stands. Whoever has used the best checkpoint closes it.
        device: Where it computes.
        network: As it is after the last step.

    Raises:
        ValueError: The settings, the starting weights, or the state to resume are refused.
    """

    def __init__(
        self,
        config: TrainConfig,
        task: TrainingTask,
        data: Ratings,
        digests: dict[str, str],
        processes: ProcessGroup = ONE_PROCESS,
    ) -> None:
        batch_size, n = config.batch_size, len(data.splits["train"])
        if n < batch_size:
            processes.expect_divides("training images, fewer than --batch-size", n)
        else:
            processes.expect_divides("--batch-size", batch_size)
        processes.expect_divides("--damaged-pairs", config.damaged_pairs)
        self.device = choose_device(config.device)
        prepare(config.seed, self.device)
        self._config, self._task, self._data, self._digests = config, task, data, digests
        self._processes = processes
        self._train, self._val = (
            kept_in_memory(data.splits[name], name) for name in ("train", "val")
        )
        if config.teacher is not None:
            self._train = taught(
                self._train, config.teacher, config.teacher_share, config.run_dir, self.device,
                config.workers,
            )  # fmt: skip
        self.network = starting_network(config, task, data, self.device)
        self._frozen = freeze(self.network, config.train)
        self._step = Step(config, self.network, task, processes, self._train.target)
        self._average, self._optimizer = self._step.average, self._step.optimizer
        self.state = RunState.open(config, digests, self.network, self._optimizer, self._average)
        self._scheduler = self._rates_from_here()
        self._stop_request = StopRequest()
        self._saved_at_s = 0.0

    @property
    def best(self) -> Path:
        """Folder of the best epoch's checkpoint."""
        return self.state.directory / BEST

    @contextmanager
    def tracked(self, parent_run_id: str | None = None) -> Iterator[str]:
        """
        Open the run in MLflow, or the interrupted one again; only the first process has one.

        Args:
            parent_run_id: The sweep or ablation it belongs to.

        Yields:
            The run's id.
        """
        if not self._processes.is_first:
            yield ""
            return
        config = self._config
        run = tracking.run(config.experiment, config.title, self.state.run_id, parent_run_id)
        with run as run_id:
            if self.state.run_id is None:
                self.state.run_id = run_id
                weights = {"starting_weights": identity_of(config.weights)}
                if config.teacher is not None:
                    weights["teacher"] = identity_of(str(config.teacher / checkpoint.WEIGHTS_FILE))
                self.state.provenance = {
                    **tracking.provenance(),
                    **weights,
                    **dvc_lock.tags(config.data_dir),
                }
                settings = dataclasses.asdict(config)
                tracking.describe(settings, self.state.provenance, self._data, self._digests)
            yield run_id

    def run(self) -> None:
        """
        Train all epochs that are left, within `tracked`.

        Raises:
            ValueError: The loss is not finite.
            KeyboardInterrupt: Interrupted; the state is saved, `--resume` continues.
        """
        with self._stop_request:
            while self.state.epoch < self._config.epochs and not self.is_stale():
                self.train_epoch()
                self.validate()
                self.save()
                self.stop_if_asked()

    def is_stale(self) -> bool:
        """Tell whether `--patience` has come to its end."""
        waited, patience = self.state.epoch - self.state.best_epoch, self._config.patience
        if not patience or waited < patience:
            return False
        logger.info("no better for %d epochs: training ends", waited)
        return True

    def train_epoch(self) -> None:
        """Train on each image once, from the step on where the run stands."""
        state, epochs = self.state, self._config.epochs
        loader = training_loader(
            self._config, self._task, self._train, state.epoch, state.step, self._processes
        )
        self._saved_at_s = counted_at_s = time.monotonic()
        if not self._processes.is_first:  # else all would drop out alike; --resume has the first's
            drawn = np.random.SeedSequence(
                (self._config.seed, self._processes.rank, state.epoch, state.step)
            )
            torch.manual_seed(int(drawn.generate_state(1)[0]))
        self.network.train()
        for module in self._frozen:
            module.eval()
        with tqdm(
            total=len(loader), initial=state.step, desc=f"epoch {state.epoch + 1}/{epochs}",
            unit="step", disable=not self._processes.is_first,
        ) as bar:  # fmt: skip
            for pixels_NHWC, target in loader:
                self.train_step(pixels_NHWC, target)
                # After each step, so that a state saved in mid-epoch has the time of its steps.
                now_s = time.monotonic()
                state.epoch_seconds += now_s - counted_at_s
                counted_at_s = now_s
                bar.update()
                bar.set_postfix(loss=f"{state.mean_loss:.4f}")
                self.stop_if_asked()
                self.save_if_due()
        state.epoch_seconds += time.monotonic() - counted_at_s
        state.end_epoch()

    def train_step(self, pixels_NHWC: Tensor, target: Tensor) -> None:
        """Take one step: forward, backward, update, the next rate."""
        loss = self._step.forward(pixels_NHWC, target)
        if not torch.isfinite(loss):
            raise ValueError(
                f"loss: expected a finite number, got {loss.item()} in epoch "
                f"{self.state.epoch + 1}, step {self.state.step}. Lower --lr."
            )
        self._step.backward(loss)
        self._step.update()
        self._scheduler.step()
        self.state.after_step(float(loss.item()))

    def validate(self) -> None:
        """Measure the epoch on validation; keep the network if it is the best so far."""
        network = evaluated_network(self.network, self._average)
        self._processes.share_buffers(network)
        # In float32 whatever the steps were in: autocast moves the rank correlation of quality by
        # up to 0.005, more than what lies between two epochs.
        part = predict(
            torch_predictor(network, self.device),
            self._val.part(self._processes.share),
            batch_size=self._config.batch_size if self._val.policy.is_one_size else BATCH_SIZE,
            workers=self._config.workers,
            title="validation",
        )
        outputs = self._processes.gather_shares(part, len(self._val))
        metrics = self._task.metrics(outputs, self._val.target)
        row = {"loss": self.state.history_loss, **metrics}
        is_best = self.state.is_best(row, self._task.rank)
        if self._processes.is_first:
            self._report(metrics)
            if is_best:
                facts, policy = self._data.facts, self._val.policy
                checkpoint.save(self.best, network, facts, self._task, policy)
        # The last step's rate was set before this epoch was validated; --resume sees it as well.
        self._scheduler = self._rates_from_here()

    def save(self) -> None:
        """Write what `--resume` needs."""
        if self._processes.is_first:
            self.state.save(self.network, self._optimizer, self._average)
        self._saved_at_s = time.monotonic()

    def save_if_due(self) -> None:
        """Save every `SAVE_EVERY_S`."""
        if time.monotonic() - self._saved_at_s > SAVE_EVERY_S:
            self.save()

    def stop_if_asked(self) -> None:
        """Save and leave a run that somebody wants to end."""
        if self._processes.any(self._stop_request.is_requested):
            self.save()
            logger.warning("saved in %s; continue with --resume", self.state.directory)
            raise KeyboardInterrupt

    def _rates_from_here(self) -> LambdaLR:
        """Return the scheduler of the steps that are left; it sets the rate of the next one."""
        state, config = self.state, self._config
        steps = len(training_loader(config, self._task, self._train, state.epoch))
        return rate_scheduler(
            self._optimizer,
            config.epochs * steps,
            config.warmup,
            config.schedule,
            steps_done=state.epoch * steps + state.step,
            validated=lambda: [self._task.rank(row)[0] for row in state.history],
        )

    def _report(self, metrics: dict[str, float]) -> None:
        epoch, loss = self.state.epoch, self.state.history_loss
        mlflow.log_metrics({f"val_{name}": value for name, value in metrics.items()}, step=epoch)
        mlflow.log_metric("train_loss", loss, step=epoch)
        told = self._task.sentence(metrics)
        logger.info("epoch %d: loss %.4f, validation %s", epoch, loss, told)
