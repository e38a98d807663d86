"""What the benchmark measures, in which order, and how long each step is expected to take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from benchmarks.sent_pictures import SMALL

OURS: Final = "iqa"
LIMIT: Final = "limit"
RIVALS: Final = ("litserve", "bentoml")
"""The peers that come near: the same graph behind a server made for models."""

START_S: Final = 10.0  # from the command to the first score, of a peer; ours takes half
PER_RUN_S: Final = 1.0  # waking a server, one request alone, wrk's start, the memory's reading
LIMIT_LOAD_S: Final = 4.0
COLD_START_S: Final = 8.0
CALM_S: Final = 3.0  # before an overload, and after it
AFTER_S: Final = 6.0
EXPECTED_RATE_PER_S: Final = 180.0  # for the expected times only


@dataclass(frozen=True, kw_only=True)
class Step:
    """
    One measurement of one contender.

    Attributes:
        kind: Which of `measures.MEASURES`.
        key: Its name in the results; unique.
        contender: One of `contenders.CONTENDERS`.
        run_s: How long load is put on.
        picture: What is sent.
        clients: Closed loop: how many.
        rate_per_s: Open loop: how fast; 0 where `percent_of_limit` says it.
        percent_of_limit: Open loop: how fast, in percent of the limit measured before.
        requests: Memory: how many the server must have answered in all.
    """

    kind: str
    key: str
    contender: str
    run_s: int
    picture: str = SMALL
    clients: int = 16
    rate_per_s: float = 0.0
    percent_of_limit: int = 0
    requests: int = 0

    @property
    def expected_s(self) -> float:
        """How long it takes, for the progress line."""
        if self.kind == "cold_start":
            return COLD_START_S
        if self.kind == "limit":
            return self.run_s + LIMIT_LOAD_S
        if self.kind == "overload":
            return CALM_S + self.run_s + AFTER_S + PER_RUN_S
        return self.run_s + PER_RUN_S


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    A run of the benchmark.

    Attributes:
        name: full or quick.
        steps: In order.
        warm_requests: Ours is warm after so many: Java compiles what runs often.
        warm_s: Peers are warmed for so long.
    """

    name: str
    steps: list[Step]
    warm_requests: int
    warm_s: int

    def expected_s(
        self, done: frozenset[str] = frozenset(), up: frozenset[str] = frozenset()
    ) -> float:
        """
        Return how long what is left takes.

        Args:
            done: Keys of the steps that are finished.
            up: Contenders that are started and warm.
        """
        left = [step for step in self.steps if step.key not in done]
        to_start = {step.contender for step in left} - up - {LIMIT}
        starts_s = sum(START_S + self.expected_warm_s(name) for name in to_start)
        return sum(step.expected_s for step in left) + starts_s

    def expected_warm_s(self, contender: str) -> float:
        """Return how long warming a contender takes."""
        return self.warm_requests / EXPECTED_RATE_PER_S if contender == OURS else self.warm_s


@dataclass(kw_only=True)
class _Steps:
    """Collects steps; the methods are the parts of the plan."""

    steps: list[Step] = field(default_factory=list)

    def closed(
        self, contenders: list[str], clients: list[int], pictures: list[str], run_s: int
    ) -> None:
        """One contender after the other: throughput against clients and pictures."""
        self.steps += [
            Step(
                kind="closed", key=f"closed/{name}/{picture}/{n}", contender=name,
                run_s=run_s, picture=picture, clients=n,
            )
            for name in contenders for picture in pictures for n in clients
        ]  # fmt: skip

    def rounds(self, contenders: list[str], rounds: int, run_s: int) -> None:
        """Interleaved, so that a slow minute of the machine hits all: what the ratios are of."""
        self.steps += [
            Step(
                kind="limit" if name == LIMIT else "closed",
                key=f"rounds/{name}/{i}", contender=name, run_s=run_s,
            )
            for i in range(rounds) for name in contenders
        ]  # fmt: skip

    def open(self, contenders: list[str], percents: list[int], run_s: int) -> None:
        """Latency against the offered rate."""
        self.steps += [
            Step(
                kind="open", key=f"open/{name}/{percent}", contender=name, run_s=run_s,
                percent_of_limit=percent,
            )
            for percent in percents for name in contenders
        ]  # fmt: skip

    def steady(self, rounds: int, run_s: int) -> None:
        """A hundred requests a second, as the project promises."""
        self.steps += [
            Step(kind="open", key=f"steady/{OURS}/{i}", contender=OURS, run_s=run_s, rate_per_s=100)
            for i in range(rounds)
        ]

    def overload(self, run_s: int) -> None:
        """Twice what it can do, between two calm stretches."""
        self.steps.append(
            Step(kind="overload", key=f"overload/{OURS}", contender=OURS, run_s=run_s)
        )

    def cold_starts(self, starts: int) -> None:
        """From the process start to the first score."""
        self.steps += [
            Step(kind="cold_start", key=f"cold_start/{OURS}/{i}", contender=OURS, run_s=0)
            for i in range(starts)
        ]

    def memory(self, requests: int, run_s: int) -> None:
        """Go on until so many requests are answered; memory was read after each step."""
        self.steps.append(
            Step(
                kind="memory", key=f"memory/{OURS}", contender=OURS, run_s=run_s, requests=requests
            )
        )


def full() -> Plan:
    """Return the plan of `make bench`: 35 minutes at most."""
    plan = _Steps()
    plan.closed(
        [
            OURS, "torchserve_eager_default", "mlflow_serve", "torchserve_noop",
            "torchserve_eager", "fastapi_eager", "fastapi_openvino", *RIVALS,
        ],
        [1, 2, 8, 16, 64], [SMALL], run_s=6,
    )  # fmt: skip
    # Before the half of all requests: large pictures leave a larger heap, and that is no leak.
    plan.closed(
        [OURS, *RIVALS, "fastapi_eager"],
        [1, 8], ["2MP.jpg", "12MP.jpg", "48MP.jpg", "2MP.png", "12MP.png"], run_s=5,
    )  # fmt: skip
    plan.rounds(
        [
            OURS, LIMIT, *RIVALS, "fastapi_openvino", "torchserve_eager", "fastapi_eager",
            "torchserve_noop",
        ],
        rounds=5, run_s=8,
    )  # fmt: skip
    plan.open([OURS, *RIVALS], [25, 50, 75, 90, 100], run_s=10)
    plan.steady(rounds=5, run_s=15)
    plan.overload(run_s=10)
    plan.cold_starts(5)
    plan.memory(requests=100_000, run_s=270)
    return Plan(name="full", steps=plan.steps, warm_requests=20_000, warm_s=30)


def quick() -> Plan:
    """Return the plan of `make bench-quick`: two minutes, figures only roughly right."""
    plan = _Steps()
    plan.closed([OURS, "litserve"], [1, 16], [SMALL], run_s=3)
    plan.closed([OURS], [8], ["12MP.jpg"], run_s=3)
    plan.rounds([OURS, LIMIT, "litserve"], rounds=2, run_s=3)
    plan.open([OURS], [50, 90], run_s=4)
    plan.steady(rounds=1, run_s=5)
    plan.overload(run_s=4)
    plan.cold_starts(1)
    return Plan(name="quick", steps=plan.steps, warm_requests=1_500, warm_s=4)
