"""
Measure this server, the limit without one, and what users would pick instead, in one run.

    python -m benchmarks.bench [--quick] [--only NAME ...] [--resume] [--mar FILE] [--out DIR]

Whatever is not being measured is paused, so contenders stay warm and take no CPU from each other.
Each step's record is written as soon as it is there; `benchmarks.report` makes tables of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from iqa.network.checkpoint import WEIGHTS_FILE, load_card

from benchmarks import contenders, machine, measure_step, measured_steps, sent_pictures
from benchmarks.contenders import CONTENDERS, Running, Site
from benchmarks.measured_steps import LIMIT, OURS, Plan, Step
from benchmarks.peers.launches import ROOT
from benchmarks.results import Results
from benchmarks.run_context import Context
from console import command_line
from scripts.archive import mar_file
from scripts.archive.mar_file import STAND_IN_NAME
from scripts.server.cores import usable_cores
from scripts.server.state import StateDir
from training.registry.pretrained import PRETRAINED

BASE_PORT = 23300  # below the ephemeral ones, as are the gRPC ports 1010 below it
PORTS_EACH = 10


def main(argv: list[str] | None = None) -> int:
    """Run the plan, or what is left of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="two minutes instead of 40")
    parser.add_argument(
        "--only", nargs="+", choices=list(CONTENDERS), metavar="NAME",
        help=f"these contenders, and the limit, of {', '.join(CONTENDERS)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--mar", type=Path, help="the archive (default: what `make serve` serves)")
    parser.add_argument(
        "--out", type=Path, help="folder of the results (default: build/bench, build/bench-quick)"
    )
    parser.add_argument(
        "--port", type=int, default=BASE_PORT,
        help="the first of some hundred ports that are used (default: %(default)s)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    end_with_servers()
    return command_line.run(lambda: bench(arguments), arguments.debug)


def bench(arguments: argparse.Namespace) -> int:
    """
    Run the plan.

    Returns:
        0 if every step was measured, 1 if one failed; the others are there all the same.
    """
    chosen = measured_steps.quick() if arguments.quick else measured_steps.full()
    if arguments.only:
        kept = {*arguments.only, LIMIT}  # rates are offered in percent of it
        chosen.steps[:] = [step for step in chosen.steps if step.contender in kept]
    out = arguments.out or ROOT / "build" / ("bench-quick" if arguments.quick else "bench")
    out.mkdir(parents=True, exist_ok=True)
    (out / ".gitignore").write_text("*\n")
    mar = (arguments.mar or served_archive()).resolve()
    facts = {
        "plan": chosen.name,
        "archive": machine.archive_facts(mar),
        "machine": machine.machine(),
        "versions": machine.versions(),
    }
    results = Results.open(out / "results.json", facts, resume=arguments.resume)
    run = Run(chosen, results, sites(mar, out, arguments.port), out / "pictures")
    try:
        run.all_steps()
    except KeyboardInterrupt:
        print(f"interrupted; {results.path} holds what was measured. Go on: --resume")
        return command_line.INTERRUPTED
    failed = results.failed()
    for key, words in failed.items():
        print(f"failed: {key}: {words}", file=sys.stderr)
    print(f"results: {results.path}")
    return 1 if failed else 0


class Run:
    """
    One run of a plan.

    Args:
        chosen: The plan.
        results: Takes each record; what it holds already is not measured again.
        site: Contender -> where it runs.
        picture_folder: Where pictures are kept.
    """

    def __init__(
        self, chosen: Plan, results: Results, site: Callable[[str], Site], picture_folder: Path
    ) -> None:
        self._plan = chosen
        self._results = results
        self._up: dict[str, tuple[Running, ExitStack]] = {}
        self._context = Context(
            records=results.steps,
            site=site,
            picture=lambda name: sent_pictures.stored(name, picture_folder),
            memory=[],
        )

    def all_steps(self) -> None:
        """Measure what is not measured yet; a contender runs from its first step to its last."""
        for name in {step.picture for step in self._plan.steps}:
            self._results.pictures[name] = len(self._context.picture(name))  # made before any load
        left = [step for step in self._plan.steps if not self._results.has(step.key)]
        with ExitStack() as servers:
            for i, step in enumerate(left):
                self._one_step(step, servers)
                if all(later.contender != step.contender for later in left[i + 1 :]):
                    self._end(step.contender)
                self._say(step)
        self._results.finish()

    def _one_step(self, step: Step, servers: ExitStack) -> None:
        try:
            if step.kind in measure_step.ALONE:
                record = measure_step.ALONE[step.kind](step, self._context)
            else:
                self._ensure_up(step.contender, servers)
                with self._awake(step.contender) as server:
                    record = measure_step.MEASURES[step.kind](step, server, self._context)
        except (OSError, RuntimeError, ValueError) as error:
            # The other contenders' figures are worth having; the report says what is missing.
            record = {"error": f"{type(error).__name__}: {error}"}
        self._results.add(step, record)

    def _ensure_up(self, name: str, servers: ExitStack) -> None:
        """Start and warm a contender at its first step."""
        if name in self._up:
            return
        if name in self._results.not_started:
            raise RuntimeError(f"{name} did not start: {self._results.not_started[name]}")
        own = servers.enter_context(ExitStack())
        try:
            server = own.enter_context(contenders.running(name, self._context.site(name)))
        except (OSError, RuntimeError, ValueError) as error:
            self._results.not_started[name] = str(error)
            raise
        if name == OURS:
            self._context.memory.clear()
            self._context.served = 0
        is_ours = name == OURS
        warmed = measure_step.warm_up(
            server,
            self._context,
            name,
            requests=self._plan.warm_requests if is_ours else 0,
            seconds=0 if is_ours else self._plan.warm_s,
        )
        server.pause()
        self._up[name] = server, own
        self._results.servers[name] = {
            "title": CONTENDERS[name].title,
            "startup_s": server.startup_s,
            "warm_up": warmed,
        }

    @contextmanager
    def _awake(self, name: str) -> Iterator[Running]:
        server, _ = self._up[name]
        server.resume()
        try:
            yield server
        finally:
            server.pause()

    def _end(self, name: str) -> None:
        """End a contender at once: asked politely, some take half a minute."""
        if name in self._up:
            server, own = self._up.pop(name)
            for process in server.processes():  # paused, so no supervisor starts another
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            own.close()

    def _say(self, step: Step) -> None:
        done = frozenset(self._results.steps)
        record = self._results.steps[step.key]
        words = record["error"].splitlines()[0] if "error" in record else measure_step.short(record)
        minutes = self._plan.expected_s(done, frozenset(self._up)) / 60
        measured = sum(one.key in done for one in self._plan.steps)
        clock = time.strftime("%H:%M:%S")
        print(
            f"{clock} [{measured}/{len(self._plan.steps)}] {step.key}: {words}; "
            f"{minutes:.0f} min left",
            flush=True,
        )


def end_with_servers() -> None:
    """Let TERM and a closed terminal end as Ctrl-C does: no server is left behind, or paused."""
    command_line.Interruption(signal.SIGTERM, signal.SIGHUP)


def served_archive(model_name: str = OURS) -> Path:
    """Return the archive that `make serve` would serve; build it where it is missing."""
    from scripts.rollout.deployment_records import Records
    from scripts.supervisor import alias_archive  # MLflow takes seconds to import

    known = Records(state=StateDir.from_environment(), model_name=model_name)
    return alias_archive.served_archive(model_name, "staging", mar_file.MODEL_STORE, known)


def sites(mar: Path, out: Path, base_port: int) -> Callable[[str], Site]:
    """Unpack the archive for the peers; return where each contender runs."""
    model_dir = out / "model"
    with zipfile.ZipFile(mar) as packed:
        packed.extractall(model_dir)
    (model_dir / STAND_IN_NAME).unlink(missing_ok=True)  # a peer's torch is torch
    _complete_weights(model_dir)
    names = [*CONTENDERS, "cold_start"]

    def site(name: str) -> Site:
        return Site(
            mar=mar,
            model_dir=model_dir,
            workspace=out / "work" / name,
            port=base_port + PORTS_EACH * names.index(name),
            workers=usable_cores(),
        )

    return site


def _complete_weights(model_dir: Path) -> None:
    """Fetch the float32 weights for the eager peers: an archive of lower precision has none."""
    if (model_dir / WEIGHTS_FILE).exists():
        return
    expected = json.loads((model_dir / "provenance.json").read_text())["weights_sha256"]
    if load_card(PRETRAINED)["weights_sha256"] != expected:
        raise ValueError(
            f"archive: expected {WEIGHTS_FILE} in it, or the shipped model, got other weights. "
            "Build it with --precision f32."
        )
    shutil.copyfile(PRETRAINED / WEIGHTS_FILE, model_dir / WEIGHTS_FILE)


if __name__ == "__main__":
    sys.exit(main())
