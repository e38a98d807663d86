"""
Where the time of a training step goes: decoding, waiting, forward, backward, update.

    python -m benchmarks.training_step --dataset biq2021 --data-dir data/biq2021

First each part alone, in turn, then the loop as `training.train` runs it, with its decoding
processes beside it: what the parts do not explain is waiting. Takes training.train's options.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import machine
from benchmarks.peers.launches import ROOT
from benchmarks.report_tables import table
from console import command_line
from training.compute.device import choose_device, prepare
from training.data import ratings
from training.data.config import add_options
from training.data.images import TrainingCrops
from training.loop.config import TrainConfig, train_config
from training.loop.loading import training_loader
from training.loop.starting_weights import starting_network
from training.loop.step import Step
from training.tasks.task_table import QUALITY

WARM_STEPS = 5
EPOCH_PICTURES = 10_000


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_step", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--steps", type=int, default=40, help="to time (default: %(default)s)")
    parser.add_argument(
        "--result", type=Path, default=ROOT / "build" / "training_step.json",
        help="file of the figures (default: build/training_step.json)",
    )  # fmt: skip
    add_options(parser, TrainConfig)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(
        lambda: report(measure(train_config(arguments), arguments.steps), arguments.result),
        arguments.debug,
    )


def measure(config: TrainConfig, steps: int) -> dict[str, Any]:
    """
    Time the parts and the whole of a step.

    Args:
        config: The run whose steps are timed; nothing of it is kept.
        steps: How many, after some to warm up.

    Returns:
        Seconds a step: `decode_one_core`, `forward`, `backward`, `update`, `loop`, `waiting`, each
        a median, and what they belong to.
    """
    device = choose_device(config.device)
    prepare(config.seed, device)
    data = ratings.load(config, policy=QUALITY.policy_of(config))
    train = data.splits["train"]
    step = Step(config, starting_network(config, QUALITY, data, device).train(), QUALITY)
    loader = training_loader(config, QUALITY, train, epoch=0)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def one(pixels: torch.Tensor, target: torch.Tensor, note: Callable[[str], None]) -> None:
        loss = step.forward(pixels, target)
        note("forward")
        step.backward(loss)
        note("backward")
        step.update()
        note("update")

    clock = _Clock(wait)
    crops = TrainingCrops(train, config.crop_px, config.seed)
    assert loader.batch_sampler is not None  # the loader was made with one
    indices = next(iter(loader.batch_sampler))
    items = []
    for index in indices * max(1, 64 // len(indices)):
        clock.start()
        items.append(crops[index])
        clock("decode")
    pixels = torch.stack([item[0] for item in items[: len(indices)]])
    target = torch.stack([item[1] for item in items[: len(indices)]])
    for number in tqdm(range(WARM_STEPS + steps), desc="parts", unit="step", leave=False):
        if number == WARM_STEPS:
            clock.forget("forward", "backward", "update")
        clock.start()
        one(pixels, target, clock)

    loop = _Clock(wait)
    for number, (pixels, target) in enumerate(tqdm(loader, desc="loop", unit="step", leave=False)):
        if number > 0:  # the first waits for the processes to start
            loop("waiting")
        if number == WARM_STEPS:
            loop.forget("waiting", "loop")
            began_s = time.perf_counter()
        if number == WARM_STEPS + steps or number == len(loader) - 1:
            break
        one(pixels, target, lambda _: None)
        wait()
        loop.start()
    timed = number - WARM_STEPS
    if timed < 1:
        raise ValueError(
            f"--data-dir: expected more than {WARM_STEPS + 1} steps of {config.batch_size} "
            f"pictures, got {len(loader)}. Take a smaller --batch-size."
        )
    return {
        "measured_at": time.strftime("%Y-%m-%d %H:%M"),
        "machine": machine.machine(),
        "settings": {
            "backbone": config.backbone, "batch_size": config.batch_size,
            "crop_px": config.crop_px, "precision": "bf16" if step.is_bf16 else "f32",
            "norm": config.norm, "damaged_pairs": config.damaged_pairs,
            "device": device.type, "threads": torch.get_num_threads(), "workers": config.workers,
        },
        "decode_one_core_s": clock.median_s("decode") * len(indices),
        "forward_s": clock.median_s("forward"),
        "backward_s": clock.median_s("backward"),
        "update_s": clock.median_s("update"),
        "loop_s": (time.perf_counter() - began_s) / timed,
        "waiting_s": loop.median_s("waiting"),
    }  # fmt: skip


def report(found: dict[str, Any], result: Path) -> int:
    """Print the table, write the figures; 0."""
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(found, indent=2) + "\n")
    settings, loop_s = found["settings"], found["loop_s"]
    print(", ".join(f"{key} {value}" for key, value in settings.items()))
    parts = {
        "decoding, one core": "decode_one_core_s", "forward": "forward_s",
        "backward": "backward_s", "update": "update_s", "waiting for pictures": "waiting_s",
        "a step of the loop": "loop_s",
    }  # fmt: skip
    rows = [
        [title, f"{1000 * found[key]:.0f}", f"{found[key] / loop_s:.0%}"]
        for title, key in parts.items()
    ]
    print(table(["part", "ms a step", "share of a step"], rows))
    minutes = loop_s * EPOCH_PICTURES / settings["batch_size"] / 60
    print(f"an epoch of {EPOCH_PICTURES:,} pictures: {minutes:.1f} minutes")
    return 0


class _Clock:
    """Seconds from `start` to the first note, and from each note to the next."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait
        self._seconds: dict[str, list[float]] = {}
        self._last_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._wait()
        self._last_s = time.perf_counter()

    def __call__(self, name: str) -> None:
        """Note that this part has ended."""
        self._wait()
        now_s = time.perf_counter()
        self._seconds.setdefault(name, []).append(now_s - self._last_s)
        self._last_s = now_s

    def forget(self, *names: str) -> None:
        """Leave out what was noted of these so far."""
        for name in names:
            self._seconds.pop(name, None)

    def median_s(self, name: str) -> float:
        """Return the median of a part."""
        return statistics.median(self._seconds[name])


if __name__ == "__main__":
    sys.exit(main())
