"""The start of the containers, as far as it goes without an engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import docker_up

SCORE = {"score": 80.6, "label": "excellent", "model": {"name": "iqa", "version": "3"}}


@pytest.fixture
def front() -> Iterator[Callable[[list[tuple[int, str]], int], str]]:
    """Start something that answers /ready in turn and then the last again; returns its address."""
    started: list[ThreadingHTTPServer] = []

    def start(answers: list[tuple[int, str]], score_status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, reason = answers.pop(0) if len(answers) > 1 else answers[0]
                self._send(status, {"reason": reason})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._send(score_status, SCORE)

            def _send(self, status: int, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def compose(folder: Path, script: str) -> list[str]:
    """Return a command that answers as compose would."""
    path = folder / "compose"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return [str(path)]


def test_it_waits_until_the_front_is_ready_and_says_once_why_not(
    front: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same reason twice is one line; then the score is returned."""
    monkeypatch.setattr(docker_up, "POLL_S", 0.01)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody there
    url = front([(503, "no version is loaded"), (503, "no version is loaded"), (200, "ready")])
    assert docker_up.first_score(["compose"], url, 30.0) == SCORE
    assert capsys.readouterr().out == "not ready yet: no version is loaded\n"


def test_a_front_that_does_not_get_ready_is_an_error_with_the_reason(
    front: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last reason and the commands to look with are in the message."""
    monkeypatch.setattr(docker_up, "POLL_S", 0.01)
    url = front([(503, "no version is loaded")])
    with pytest.raises(RuntimeError, match=r"got: no version is loaded\. See: compose ps"):
        docker_up.first_score(["compose"], url, 0.05)


def test_a_picture_without_a_score_is_an_error(front: Callable[..., str]) -> None:
    """Ready and yet no score: nothing is printed as if it were well."""
    with pytest.raises(RuntimeError, match="expected a score, got 503"):
        docker_up.first_score(["compose"], front([(200, "ready")], 503), 5.0)


def test_nobody_listening_is_no_answer() -> None:
    """A port that refuses is status 0 with the reason, not an exception."""
    code, reason = docker_up.ask("http://127.0.0.1:9/ready")
    assert code == 0
    assert "refused" in reason


def test_the_published_address_is_asked_of_compose(tmp_path: Path) -> None:
    """Ports may come from .env, which only compose reads; all interfaces include loopback."""
    said = compose(tmp_path, '[ "$*" = "port front 8080" ] && echo 0.0.0.0:18080')
    assert docker_up.published(said, "front", 8080) == "127.0.0.1:18080"


def test_a_service_that_does_not_run_has_no_address(tmp_path: Path) -> None:
    """Compose prints nothing for it: the error names the service and what to look at."""
    with pytest.raises(RuntimeError, match="mlflow: expected its port 5000 published"):
        docker_up.published(compose(tmp_path, "exit 1"), "mlflow", 5000)


def test_without_docker_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit status 1."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert docker_up.main([]) == 1
    assert "expected Docker with compose on PATH" in capsys.readouterr().err


def test_the_older_compose_is_found_where_the_plugin_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker compose` fails without its plugin, and docker-compose is then called."""
    for name, script in (("docker", "exit 1"), ("docker-compose", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert docker_up.compose_command() == ["docker-compose"]
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 0\n")
    assert docker_up.compose_command() == ["docker", "compose"]
