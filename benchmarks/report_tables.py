"""The report's tables of throughput, latency, CPU time and memory, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.aggregates import STAGES, Figures, cpu_ms_of, errors_of
from benchmarks.contenders import CONTENDERS
from benchmarks.measured_steps import LIMIT, OURS, RIVALS
from benchmarks.plots import CLIENTS
from benchmarks.sent_pictures import SIZES, SMALL

Rows = list[Sequence[object]]


def clients(figures: Figures) -> str:
    """Scores per second against clients."""
    rows: Rows = []
    for name in figures.measured():
        cells = []
        for n in CLIENTS:
            record = figures.record(f"closed/{name}/{SMALL}/{n}")
            cells.append("-" if record is None else _rate_cell(record["load"]))
        if any(cell != "-" for cell in cells):
            rows.append([CONTENDERS[name].title, *cells])
    return table(["contender", *(f"{n} clients" for n in CLIENTS)], rows)


def _rate_cell(load: dict[str, Any]) -> str:
    failed = load["refused"] + load["timeouts"] + load["socket_errors"]
    return f"{load['rate_per_s']:.1f}" + (f" ({failed} failed)" if failed else "")


def rounds(figures: Figures) -> str:
    """The interleaved rounds: throughput, ratios, latency, CPU time."""
    rows: Rows = []
    for name in figures.measured():
        rates = figures.rates_per_s(name)
        if not rates:
            continue
        latencies = [
            one["load"]["latency"] for one in figures.records(f"rounds/{name}/") if "load" in one
        ]
        is_server = bool(latencies)
        rows.append(
            [
                CONTENDERS[name].title,
                number(figures.rate_per_s(name), 1),
                f"{min(rates):.1f}-{max(rates):.1f}",
                number(figures.ratio(name, LIMIT), 2),
                number(figures.ratio(OURS, name), 2),
                number(_middle([one["p50_ms"] for one in latencies]), 0),
                number(_middle([one["p99_ms"] for one in latencies]), 0),
                number(figures.cpu_ms(name, "server") if is_server else figures.stages_ms(), 2),
                number(figures.cpu_ms(name, "client") if is_server else None, 2),
            ]
        )
    return table(
        [
            "contender", "scores/s", "range", "of the limit", "ours / it",
            "p50 ms", "p99 ms", "CPU ms", "client's CPU ms",
        ],
        rows,
    )  # fmt: skip


def budget(figures: Figures) -> str:
    """Add the stages up to the whole: CPU milliseconds, at 16 clients."""
    stages = figures.stages_ms()
    worker, jvm = figures.cpu_ms(OURS, "worker"), figures.cpu_ms(OURS, "jvm")
    other, client = figures.cpu_ms(OURS, "other"), figures.cpu_ms(OURS, "client")
    rate_per_s = figures.rate_per_s(OURS)
    parts = [(f"{stage}, as without a server", figures.stage_ms(stage)) for stage in STAGES]
    if worker is not None and stages is not None:
        parts.append(("worker: transport, protocol, JSON, metrics, waiting", worker - stages))
    parts += [("Java: HTTP, queue, transport", jvm), ("other processes", other), ("client", client)]
    known = [value for _, value in parts if value is not None]
    if rate_per_s:
        cores = figures.results.facts["machine"]["usable_cores"]
        whole = cores * 1000 / rate_per_s
        parts.append(("idle, and the kernel's work for nobody", whole - sum(known)))
        parts.append(("all cores' time over the requests", whole))
    return table(
        ["part", "ms of one core a request"],
        [[name, number(value, 2)] for name, value in parts],
    )


def constant_rates(figures: Figures) -> str:
    """Latency, errors and CPU of the open loop."""
    cores = figures.results.facts["machine"]["usable_cores"]
    found = [one for prefix in ("open/", "steady/") for one in figures.records(prefix)]
    rows: Rows = []
    for one in found:
        load, step = one["load"], one["step"]
        percent = step["percent_of_limit"]
        rows.append(
            [
                CONTENDERS[step["contender"]].title,
                f"{load['offered_per_s']:.0f}" + (f" ({percent}%)" if percent else ""),
                *(
                    number(load["latency"][key], 1)
                    for key in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")
                ),
                f"{errors_of(load)}/{sum(load['statuses'].values())}",
                f"{one['cpu']['server_s'] / one['cpu']['elapsed_s'] / cores:.0%}",
                number(load["lag"]["p99_ms"], 1),
            ]
        )
    return table(
        [
            "contender", "offered/s", "mean ms", "p50 ms", "p95 ms", "p99 ms", "not scored",
            "CPU", "client's lag",
        ],
        rows,
    )  # fmt: skip


def overload(figures: Figures) -> str:
    """Say how the overload went."""
    record = figures.record(f"overload/{OURS}")
    if record is None:
        return "Not measured.\n"
    storm, calm = record["storm"], record["calm"]
    recovery_s = record["recovery_s"]
    refusal, accepted = storm["refusal_latency"], storm["latency"]
    asked = sum(storm["statuses"].values())
    return (
        f"Offered {storm['offered_per_s']:.0f} requests/s for {storm['seconds']:.0f} s, twice the "
        f"capacity of {record['capacity_per_s']:.0f}: {accepted['n']} of {asked} scored "
        f"in the end, {refusal['n']} refused with 503, "
        f"{asked - accepted['n'] - refusal['n']} without either.\n"
        f"Refusals: p50 {refusal['p50_ms']:.1f} ms, p99 {refusal['p99_ms']:.1f} ms, "
        f"{storm['refused_within_50_ms']:.1%} within 50 ms. "
        f"Accepted: p50 {accepted['p50_ms']:.0f} ms, p99 {accepted['p99_ms']:.0f} ms.\n"
        f"Then {calm['offered_per_s']:.0f} requests/s again: normal latency (p50 before: "
        f"{calm['latency']['p50_ms']:.1f} ms) "
        + ("not reached." if recovery_s is None else f"after {recovery_s:.1f} s.")
        + "\n"
    )


def pictures(figures: Figures) -> str:
    """Scores per second by picture."""
    names = [name for name in (OURS, *RIVALS, "fastapi_eager") if name in figures.measured()]
    rows: Rows = []
    for picture in SIZES:
        for n in (1, 8):
            records = {name: figures.record(f"closed/{name}/{picture}/{n}") for name in names}
            if not any(records.values()):
                continue
            ours = records.get(OURS)
            rows.append(
                [
                    f"{picture}, {figures.results.pictures.get(picture, 0) / 1e6:.2f} MB",
                    n,
                    *(_rate_cell(one["load"]) if one else "-" for one in records.values()),
                    number(cpu_ms_of(ours, "server") if ours else None, 1),
                    number(ours["load"]["latency"]["p50_ms"] if ours else None, 0),
                ]
            )
    titles = [CONTENDERS[name].title for name in names]
    return table(["picture", "clients", *titles, "our CPU ms", "our p50 ms"], rows)


def footprint(figures: Figures) -> str:
    """Time to the first score, and memory."""
    rows: Rows = []
    for name, server in figures.results.servers.items():
        readings = [
            one
            for one in figures.records("")
            if one["step"]["contender"] == name and "footprint" in one
        ]
        last = readings[-1]["footprint"] if readings else None
        rows.append(
            [
                CONTENDERS[name].title,
                number(server["startup_s"], 2),
                number(last["total_pss_bytes"] / 1e6 if last else None, 0),
                last["processes"] if last else "-",
                last["threads"] if last else "-",
            ]
        )
    servers = table(
        ["contender", "first score after s", "PSS at the end, MB", "processes", "threads"], rows
    )
    record = figures.record(f"memory/{OURS}")
    if record is None:
        return servers
    by_role = ", ".join(f"{role} {n / 1e6:.0f} MB" for role, n in record["pss_bytes"].items() if n)
    grew = f"after {record['half_served']:,}: {record['half_total_pss_bytes'] / 1e6:.0f} MB, "
    if "minutes" in record:
        grew = f"in {record['minutes']} minutes at a constant rate, apart, through the front; "
    return servers + (
        f"\nOurs after {record['served']:,} requests: {record['total_pss_bytes'] / 1e6:.0f} MB "
        f"({by_role}); {grew}growth in the last half {record['growth']:+.2%}.\n"
    )


def _middle(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def number(value: float | None, digits: int) -> str:
    """Write a number, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table."""
    if not rows:
        return "Not measured.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)
