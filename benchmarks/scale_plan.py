"""
A billion images on paper: hours, price and what gives out first, by simulation.

    python -m benchmarks.scale_plan [--images 1e9] [--core-ms 20] [--seed 0]

Every task (a batch of images) is an event: a core of some machine takes it, fetches, computes and
hands rows to the one driver; spot machines are lost now and then, with what they had under way, and
replaced after a while. What an image costs is measured (`benchmarks.score_folder rate`); prices,
request rates and loss rates are assumptions, to be replaced by yours.
Writes build/scale/plan.md, and plan.json with the assumptions.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.launches import ROOT
from console import command_line

MILLION: Final = 1e6
BYTES_A_ROW: Final = 330
"""Of CSV, the digest included; of Parquet a quarter."""
MIB_A_WORKER: Final = 200


@dataclass(frozen=True, kw_only=True)
class Machine:
    """
    One kind of machine.

    Attributes:
        name: For people.
        cores: As the system counts them.
        price_per_h: US dollars. An assumption: the order of public list prices.
        gbit_per_s: Network.
        lost_per_h: How often one is taken away.
    """

    name: str
    cores: int
    price_per_h: float
    gbit_per_s: float
    lost_per_h: float = 0.0


MACHINES: Final = (
    Machine(name="16 cores, on demand", cores=16, price_per_h=0.70, gbit_per_s=12.5),
    Machine(name="64 cores, spot", cores=64, price_per_h=1.00, gbit_per_s=25, lost_per_h=0.05),
    Machine(name="128 cores, owned", cores=128, price_per_h=0.90, gbit_per_s=25),
)


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """
    What the plan takes for granted.

    Attributes:
        core_ms: CPU of one image, everything included; measured.
        bytes_an_image: Fetched.
        fetch_ms: Of one object, of which a batch has eight under way at once.
        spread: Standard deviation of the logarithm of an image's cost: photographs differ in size.
        driver_tasks_per_s: What one Ray driver schedules and takes back.
        listed_per_s: Names a second out of an object store, one listing after the other.
        price_per_million_requests: US dollars, for reading as many objects.
        start_s: Until a new machine scores.
    """

    core_ms: float = 20.0
    bytes_an_image: float = 200e3
    fetch_ms: float = 30.0
    spread: float = 0.6
    driver_tasks_per_s: float = 500.0
    listed_per_s: float = 5_000.0
    price_per_million_requests: float = 0.40
    start_s: float = 180.0


def simulate(
    machine: Machine, n_machines: int, images: float, batch: int, given: Assumptions, seed: int
) -> dict[str, Any]:
    """
    Run one job on paper.

    Args:
        machine: All of one kind.
        n_machines: At the start, and again after each loss.
        images: To score.
        batch: Images of a task.
        given: See there.
        seed: Of sizes and losses.

    Returns:
        `hours` without the listing, `utilisation` of the cores, `redone` as a share of the images,
        `driver` and `network` as the shares of what each can do, `price_per_million`.
    """
    chance = random.Random(seed)
    n_tasks = math.ceil(images / batch)
    fetch_s = batch * given.fetch_ms / 8e3
    bound_s = batch * given.bytes_an_image * 8 * machine.cores / (machine.gbit_per_s * 1e9)
    # The mean of exp(N(m, s)) is 1 at m = -s * s / 2; a batch's sum spreads by 1 / sqrt(batch).
    variance = (math.exp(given.spread**2) - 1) / batch
    sigma = math.sqrt(math.log1p(variance))
    ends: list[tuple[float, int]] = [
        (0.0, place) for place in range(n_machines) for _ in range(machine.cores)
    ]
    heapq.heapify(ends)
    lost_at = [_next_loss(machine, 0.0, chance) for _ in range(n_machines)]
    driver_free_s = busy_s = last_s = 0.0
    redone = 0
    left = n_tasks
    while left:
        now_s, place = heapq.heappop(ends)
        while lost_at[place] < now_s:  # it was idle, or its loss is behind
            lost_at[place] = _next_loss(machine, lost_at[place] + given.start_s, chance)
        driver_free_s = max(driver_free_s, now_s) + 1 / given.driver_tasks_per_s
        compute_s = batch * given.core_ms / 1e3 * chance.lognormvariate(-(sigma**2) / 2, sigma)
        # A worker fetches while it computes; the network of the machine is shared by its cores.
        took_s = max(compute_s, fetch_s, bound_s)
        end_s = driver_free_s + took_s
        if end_s > lost_at[place] > driver_free_s:
            redone += 1
            heapq.heappush(ends, (lost_at[place] + given.start_s, place))
            continue
        busy_s += compute_s
        last_s = max(last_s, end_s)
        left -= 1
        heapq.heappush(ends, (end_s, place))
    cores = n_machines * machine.cores
    price = n_machines * machine.price_per_h * last_s / 3600
    return {
        "machine": machine.name,
        "machines": n_machines,
        "cores": cores,
        "hours": round(last_s / 3600, 2),
        "utilisation": round(busy_s / (cores * last_s), 3),
        "redone": round(redone / n_tasks, 5),
        "driver": round(n_tasks / last_s / given.driver_tasks_per_s, 3),
        "network": round(
            images * given.bytes_an_image * 8 / last_s / (n_machines * machine.gbit_per_s * 1e9), 3
        ),
        "price_per_million": round(
            price / (images / MILLION) + given.price_per_million_requests, 2
        ),
    }


def main(argv: list[str] | None = None) -> int:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_plan", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", type=float, default=1e9, help="(default: %(default)g)")
    parser.add_argument("--batch", type=int, default=4096, help="of a task (default: %(default)s)")
    parser.add_argument(
        "--core-ms", type=float, default=Assumptions.core_ms,
        help="CPU of one image, ms, measured where you will run (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "scale", help="folder (default: build/scale)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        given = Assumptions(core_ms=arguments.core_ms)
        rows = [
            simulate(kind, cores // kind.cores, arguments.images, arguments.batch, given,
                     arguments.seed)
            for kind in MACHINES
            for cores in (1024, 16384)
        ]  # fmt: skip
        by_batch = [
            {"images of a task": batch, **simulate(
                MACHINES[1], 16, min(arguments.images, 2e7), batch, given, arguments.seed)}
            for batch in (32, 256, 1024, 8192)
        ]  # fmt: skip
        document = {
            "images": arguments.images,
            "assumptions": asdict(given),
            "plans": rows,
            "by_batch": by_batch,
            "listing_hours": round(arguments.images / given.listed_per_s / 3600, 1),
            "core_hours": round(arguments.images * given.core_ms / 3.6e6),
            "stored_gb": round(arguments.images * BYTES_A_ROW / 1e9),
            "fetched_tb": round(arguments.images * given.bytes_an_image / 1e12),
            "memory_gib_per_1024_cores": round(1024 * MIB_A_WORKER / 1024),
        }
        text = as_text(document)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "plan.json").write_text(json.dumps(document, indent=2) + "\n")
        (arguments.out / "plan.md").write_text(text + "\n")
        print(text)
        return 0

    return command_line.run(command, arguments.debug)


def as_text(document: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    plans = ("machine", "machines", "hours", "utilisation", "redone", "driver", "network",
             "price_per_million")  # fmt: skip
    batches = ("images of a task", "hours", "utilisation", "redone", "driver")
    facts = ("core_hours", "listing_hours", "fetched_tb", "stored_gb", "memory_gib_per_1024_cores")
    return "\n\n".join(
        [
            _table(plans, document["plans"]),
            _table(batches, document["by_batch"]),
            ", ".join(f"{name} {document[name]}" for name in facts),
        ]
    )


def _table(heads: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *([row[head] for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _next_loss(machine: Machine, after_s: float, chance: random.Random) -> float:
    if not machine.lost_per_h:
        return math.inf
    return after_s + chance.expovariate(machine.lost_per_h / 3600)


if __name__ == "__main__":
    sys.exit(main())
