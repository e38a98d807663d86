"""
nginx as the front configures it, before a server that only counts: who is asked, and how often.

What TorchServe answers does not matter here; `tests/e2e/test_canary.py` has the true one.
"""

from __future__ import annotations

import asyncio
import collections
import json
import threading
from pathlib import Path

import requests

from scripts.nginx import settings
from scripts.nginx.front_process import Front
from scripts.nginx.split import Split, SplitFront
from tests.ports import free_port

SCORED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
ANSWERS = {
    "500": b"HTTP/1.1 500 Fault\r\nContent-Length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    "507": b"HTTP/1.1 507 Died\r\nContent-Length: 0\r\n\r\n",
    "404": b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "400": b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nits",
}
BODY = b"x" * 2000
STEPS = (5.0, 25.0, 100.0)


class Stub:
    """Counts what it is asked for, and answers with the version; version 2 does as it is told."""

    def __init__(self) -> None:
        self.asked: collections.Counter[str] = collections.Counter()
        self.heads: list[bytes] = []
        self.version_2 = "200"
        self.port = free_port()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                body = await reader.readexactly(length)
                path = head.split()[1].decode()
                self.asked[path] += 1
                self.heads.append(head)
                version = path.rpartition("/")[2] if path.count("/") == 3 else "1"
                how = self.version_2 if version == "2" else "200"
                if how == "hang":
                    await asyncio.sleep(60)
                if how == "killed":
                    break
                answer = b"%b %d" % (version.encode(), len(body))
                writer.write(ANSWERS.get(how, SCORED % (len(answer), answer)))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    def start(self) -> None:
        """Serve from a thread of its own, as long as the tests run."""
        loop = asyncio.new_event_loop()
        loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        threading.Thread(target=loop.run_forever, daemon=True).start()


class Dry:
    """The front before a stub."""

    def __init__(self, folder: Path) -> None:
        self.stub = Stub()
        self.stub.start()
        self.port = free_port()
        self.folder = folder
        self.settings = {
            **settings.defaults(),
            "FRONT_LISTEN": f"127.0.0.1:{self.port}",
            "FRONT_UPSTREAM": f"127.0.0.1:{self.stub.port}",
            "FRONT_DIR": str(folder),
            "FRONT_MODELS": "iqa|other[.]one",
            "FRONT_DRAIN_S": "5",
            "FRONT_WEB": "127.0.0.1:9",
        }
        self.front = Front(self.settings, folder.parent / "front.log")
        self.split = SplitFront(folder, patience_s=0.2)

    def ask(self, key: str = "a", path: str = "/predictions/iqa", **how: str) -> requests.Response:
        """Send one request on a connection of its own."""
        headers = {"X-Sticky-Key": key, **how}
        url = f"http://127.0.0.1:{self.port}{path}"
        return requests.post(url, data=BODY, headers=headers, timeout=20)

    def lines(self) -> list[dict[str, str]]:
        """What the front has written of the requests."""
        return [json.loads(line) for line in self.split.log.read_text().splitlines()]


def canary(version: str = "2", shares: tuple[float, ...] = STEPS) -> Split:
    """Return a canary of one model by steps."""
    return Split(kind="canary", model_name="iqa", version=version, shares=shares)
