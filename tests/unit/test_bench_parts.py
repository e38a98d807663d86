"""What a benchmark is made of: pictures, plan, readings, results kept on the way, the soak."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from benchmarks import measured_steps, plots, resources, sent_pictures, soak
from benchmarks.measured_steps import OURS, Step
from benchmarks.results import Results
from tests.tiny_server import TinyServer


@pytest.mark.parametrize("name", ["0.2MP.jpg", "2MP.jpg", "2MP.png"])
def test_pictures_have_their_size_and_are_the_same_each_time(name: str) -> None:
    """Made twice, a picture has the same bytes, its format and its pixels."""
    content = sent_pictures.make(name)
    assert content == sent_pictures.make(name)
    size = sent_pictures.SIZES[name]
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (size.width, size.height)
        assert image.format == ("PNG" if name.endswith("png") else "JPEG")


def test_pictures_compress_like_photographs(tmp_path: Path) -> None:
    """63 kB for the small one, 1.3 to 3 MB for 12 megapixels; kept once made."""
    assert abs(len(sent_pictures.make("0.2MP.jpg")) - 63_000) < 4_000
    assert 1.3e6 < len(sent_pictures.stored("12MP.jpg", tmp_path)) < 3e6
    written = (tmp_path / "12MP.jpg").stat().st_mtime_ns
    sent_pictures.stored("12MP.jpg", tmp_path)
    assert (tmp_path / "12MP.jpg").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="picture: expected one of"):
        sent_pictures.make("3MP.jpg")


def test_the_plans_fit_into_their_time() -> None:
    """35 minutes and two; every step has a name of its own and a way to measure it."""
    from benchmarks import contenders, measure_step

    for chosen, minutes in ((measured_steps.full(), 35), (measured_steps.quick(), 2.1)):
        assert chosen.expected_s() <= minutes * 60
        keys = [step.key for step in chosen.steps]
        assert len(set(keys)) == len(keys)
        for step in chosen.steps:
            assert step.kind in {**measure_step.MEASURES, **measure_step.ALONE}
            assert step.contender in contenders.CONTENDERS
            assert step.picture in sent_pictures.SIZES
    done = frozenset(step.key for step in measured_steps.full().steps)
    assert measured_steps.full().expected_s(done) == 0
    assert {step.contender for step in measured_steps.full().steps} == set(contenders.CONTENDERS)


def test_rates_in_percent_of_the_limit_come_after_the_limit() -> None:
    """Whatever an open-loop step needs was measured before it."""
    for chosen in (measured_steps.full(), measured_steps.quick()):
        kinds = [step.kind for step in chosen.steps]
        assert kinds.index("limit") < kinds.index("open")


def test_cpu_time_is_the_childrens_too() -> None:
    """A child that worked and ended counts with its parent."""
    meter = resources.CpuMeter(lambda: [psutil.Process()])
    pid = os.fork()
    if pid == 0:
        sum(i * i for i in range(3_000_000))
        os._exit(0)
    os.waitpid(pid, 0)
    use = meter.stop(client_s=0.0)
    assert use.server_s > 0.03
    assert use.by_role_s["other"] == pytest.approx(use.server_s)
    assert use.strangers_s >= 0


def test_footprint_counts_memory_threads_and_descriptors() -> None:
    """Sixty megabytes more are seen as some sixty more, in a process of its own."""
    program = (
        "import sys; print(flush=True); sys.stdin.readline(); held = b'x' * 60_000_000;"
        "print(flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        process = [psutil.Process(child.pid)]
        child.stdout.readline()
        before = resources.footprint(process)
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        after = resources.footprint(process)
        print(file=child.stdin, flush=True)
    assert 55e6 < after.total_pss_bytes - before.total_pss_bytes < 70e6
    assert (after.processes, after.threads > 0, after.descriptors > 0) == (1, True, True)


def test_results_survive_an_interruption(tmp_path: Path) -> None:
    """Measured steps are there, failed ones are tried again, another plan is refused."""
    facts = {"plan": "full", "archive": {"sha256": "a"}}
    path = tmp_path / "results.json"
    first = Results.open(path, facts, resume=False)
    first.add(Step(kind="closed", key="a", contender=OURS, run_s=1), {"value": 1})
    first.add(Step(kind="closed", key="b", contender=OURS, run_s=1), {"error": "ValueError: no"})
    again = Results.open(path, facts, resume=True)
    assert again.has("a") and not again.has("b")
    with pytest.raises(ValueError, match="Run without --resume"):
        Results.open(path, {**facts, "plan": "quick"}, resume=True)
    Results.open(path, facts, resume=False)
    assert path.with_suffix(".previous.json").exists()
    with pytest.raises(FileNotFoundError, match="make bench"):
        Results.open(path, facts, resume=True)


def test_growth_compares_the_ends_of_the_last_half(tmp_path: Path) -> None:
    """What rose before the half is no growth; what rises after it is."""
    assert soak.growth([1.0] * 50 + [2.0] * 50) == 0.0
    assert soak.growth([1.0] * 50 + [float(100 + i) for i in range(50)]) == pytest.approx(
        144.5 / 104.5 - 1
    )
    assert soak.growth([5.0]) == 0.0


def test_what_follows_connections_is_compared_over_the_whole_run() -> None:
    """A burst in the last half is no growth; one more a reading is, wherever it begins."""
    reading = {"total_pss_bytes": 1e6, "threads": 4, "processes": 1}
    burst = [{**reading, "descriptors": 300 if 70 <= i < 80 else 100} for i in range(100)]
    leak = [{**reading, "descriptors": 100 + i} for i in range(100)]
    assert soak.ends(burst)["descriptors"] == (100.0, 100.0)
    assert soak.ends(leak)["descriptors"] == (116.0, 183.0)
    assert soak.ends(leak)["total_pss_bytes"] == (1e6, 1e6)


def test_the_soak_watches_and_draws(tmp_path: Path) -> None:
    """Readings are taken while it is entered; the plot is drawn from them."""

    class Server:
        def processes(self) -> list[psutil.Process]:
            return [psutil.Process()]

    samples: list[dict[str, Any]] = []
    # A stand-in for Running, of which only this one method is asked.
    watch = soak.Watch(Server(), samples, every_s=0.02)  # type: ignore[arg-type]
    with watch, TinyServer().running() as server:
        minute = soak._one_minute(server.request(), rate_per_s=50, seconds=0.3)
    assert minute["statuses"] == {"200": 15}
    assert samples and samples[0]["by_process"].keys() == {str(os.getpid())}
    plots.plot_soak({"samples": samples, "minutes": [minute]}, tmp_path / "soak.svg")
    assert (tmp_path / "soak.svg").stat().st_size > 1000
