"""What is closed by default: addresses, foreign archives, secrets, pickles."""

from __future__ import annotations

import ast
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import requests

from console.paths import ROOT
from scripts.server.addresses import Ports
from tests.server import SECRETS, RunningServer

KINDS = {".py", ".onnx", ".safetensors", ".json", ".yaml", ".jpg", ".md"}
# Each can run what it reads; numpy does so only where it is told to.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
RISKY_CALLS = {"eval", "exec", "compile", "__import__"}


def _ports(server: RunningServer) -> Ports:
    return Ports(
        inference=int(server.environment["INFERENCE_PORT"]),
        management=int(server.environment["MANAGEMENT_PORT"]),
        metrics=int(server.environment["METRICS_PORT"]),
    )


def _listening(server: RunningServer) -> set[tuple[str, int]]:
    found = set()
    for pid in server.members():
        for connection in psutil.Process(pid).net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port))
    return found


def test_torchserve_listens_on_loopback_only(server: RunningServer) -> None:
    """Five ports, all of them on 127.0.0.1: predictions, management, metrics, and gRPC twice."""
    ports = set(_ports(server).by_name().values())
    assert _listening(server) == {("127.0.0.1", port) for port in ports}


@pytest.fixture
def lure() -> Iterator[tuple[int, list[str]]]:
    """A web server that notes who comes: its port and the paths asked for."""
    seen: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"PK\3\4")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Note)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield httpd.server_address[1], seen
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("route", ["models", "workflows"])
def test_no_address_is_fetched(
    server: RunningServer, lure: tuple[int, list[str]], route: str
) -> None:
    """CVE-2023-43654: whoever reaches the management port cannot make the server fetch a URL."""
    port, seen = lure
    before = server.manage("/all")
    for url in (
        f"http://127.0.0.1:{port}/evil.mar",
        f"HTTP://127.0.0.1:{port}/evil.mar",
        f"https://127.0.0.1:{port}/evil.mar",
        f"http://127.0.0.1:{port}/evil.mar#/iqa-1.mar",
        f"http://localhost:{port}/iqa-1.mar",
        f"ftp://127.0.0.1:{port}/evil.mar",
        f"jar:http://127.0.0.1:{port}/evil.mar!/",
        "file:///etc/passwd",
        f"file://{server.model_store}/iqa-1.mar",
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "s3://bucket/evil.mar",
        " ",
    ):
        reply = requests.post(
            server.url("MANAGEMENT_PORT", f"/{route}"), params={"url": url}, timeout=20
        )
        assert 400 <= reply.status_code < 500, (url, reply.text)
        assert "root:" not in reply.text
    assert seen == []
    assert server.manage("/all") == before


def test_workers_see_no_secret(fronted: RunningServer) -> None:
    """Secrets in the environment of the start are not in that of a process that runs a handler."""
    for worker in fronted.manage()[0]["workers"]:
        environment = Path(f"/proc/{worker['pid']}/environ").read_bytes().split(b"\0")
        names = {line.split(b"=")[0].decode() for line in environment if line}
        assert "PATH" in names
        assert not names & set(SECRETS)
        assert not any("a-secret-of-the-tests" in line.decode() for line in environment)


def test_nothing_on_the_serving_path_unpickles() -> None:
    """handler/ neither imports a module that runs what it reads, nor calls one that may."""
    files = sorted((ROOT / "handler").rglob("*.py"))
    assert len(files) > 10
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            assert not names & UNPICKLERS, f"{path.name}:{node.lineno}"
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            assert call not in RISKY_CALLS, f"{path.name}:{node.lineno}: {call}"
            assert call not in ("torch.load", "yaml.load"), f"{path.name}:{node.lineno}: {call}"
            told = {keyword.arg for keyword in node.keywords}
            assert "allow_pickle" not in told, f"{path.name}:{node.lineno}: {call}"


def test_the_archive_holds_known_kinds_of_files_only(server: RunningServer) -> None:
    """Source, ONNX, safetensors, JSON, YAML and pictures: nothing that unpickles when opened."""
    with zipfile.ZipFile(server.model_store / "iqa-1.mar") as archive:
        for name in archive.namelist():
            assert Path(name).suffix in KINDS, name
            assert not Path(name).is_absolute() and ".." not in Path(name).parts, name
            content = archive.read(name)
            # A pickle of protocol 2 and later, and the zip files that torch.save writes.
            assert not content.startswith(
                (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")
            )


def test_every_option_that_closes_a_hole_is_set() -> None:
    """What config.properties has to say, whatever else it says."""
    text = (ROOT / "config.properties").read_text()
    said = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert said["allowed_urls"] == "^$"
    assert said["install_py_dep_per_model"] == "false"
    assert said["decode_input_request"] == "false"
    for secret in SECRETS:
        assert re.fullmatch(said["blacklist_env_vars"], secret)
    for name in ("inference_address", "management_address", "metrics_address"):
        assert said[name].startswith("http://127.0.0.1:")
    assert "cors_allowed_origin" not in said
