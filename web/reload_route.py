"""
`POST /reload-model`: let the deploy tool make the server serve what the alias names.

The tool runs as a process of its own: it imports MLflow, and may build an archive with torch.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from web.readiness import Readiness
from web.refusals import Refused
from web.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[1]
LIMIT_S: Final = 840.0
"""The front waits 15 minutes. A sync that takes longer goes on."""
LAST_LINES: Final = 50
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
KIND: Final = "ReloadRefused"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """
    Who asks for a reload.

    Attributes:
        address: The client's, as the front or the connection says.
        host: The header Host.
        origin: The header Origin, which browsers send.
        authorization: The header Authorization.
    """

    address: str
    host: str
    origin: str
    authorization: str


def expect_allowed(caller: Caller, token: str | None) -> None:
    """
    Check that a caller may reload.

    With a token: whoever has it. Without one: whoever calls from this machine, but no page of
    another site in a browser on it, which could send the request but for Host and Origin.

    Raises:
        Refused: 401 without the token, 403 from elsewhere.
    """
    if token is not None:
        scheme, _, given = caller.authorization.partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), token.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise Refused(
                "unauthorized", "Authorization: expected `Bearer TOKEN`, got another.", KIND
            )
        return
    is_local = caller.address in LOOPBACK and _name_of(caller.host) in LOOPBACK
    is_own_page = not caller.origin or caller.origin.partition("://")[2] == caller.host
    if not (is_local and is_own_page):
        raise Refused(
            "forbidden",
            "client: expected one on this machine, got another. Start the gateway with "
            "RELOAD_TOKEN or RELOAD_TOKEN_FILE, and send `Authorization: Bearer TOKEN`.",
            KIND,
        )


class Reload:
    """
    One sync at a time.

    Args:
        settings: The command, and each model's alias.
        readiness: Tells the version before and after.
    """

    def __init__(self, settings: Settings, readiness: Readiness) -> None:
        self._settings, self._readiness = settings, readiness
        self._running: asyncio.Task[tuple[int, list[str], list[str]]] | None = None

    async def run(self, model_name: str) -> dict[str, Any]:
        """
        Make the server serve what the alias names; return what happened once it is done.

        Raises:
            Refused: It is off, one is under way, the new version was refused (409), or it takes
                longer than `LIMIT_S` (504).
        """
        command = self._settings.reload_command
        if command is None:
            raise Refused("forbidden", "reload: expected it on, got RELOAD=off.", KIND)
        if self._running is not None and not self._running.done():
            raise Refused(
                "reload_under_way",
                "reload: expected none under way, got one. Ask again when it is done.",
                KIND,
            )
        alias = self._settings.aliases[model_name]
        words = [*command, "--model-name", model_name, "--alias", alias]
        begin_s = time.monotonic()
        # A task of its own: a client that goes away ends no sync.
        running = self._running = asyncio.create_task(_run(words))
        before = await self._readiness.verdict(model_name)
        try:
            status, printed, told = await asyncio.wait_for(asyncio.shield(running), LIMIT_S)
        except TimeoutError as error:
            raise Refused(
                "timeout", f"reload: expected its end within {LIMIT_S:g} s, got none yet.", KIND
            ) from error
        if status != 0:
            errors = [line for line in told if line.startswith("error: ")] or told
            why = errors[-1].removeprefix("error: ") if errors else f"exit status {status}"
            raise Refused("reload_refused", why, KIND)
        after = await self._readiness.verdict(model_name)
        return {
            "status": "ok",
            "message": printed[-1] if printed else "done",
            "model_name": model_name,
            "model_version": after.version,
            "previous_version": before.version,
            "seconds": round(time.monotonic() - begin_s, 1),
            "log": told[-LAST_LINES:],
        }


async def _run(words: list[str]) -> tuple[int, list[str], list[str]]:
    """Run a command; return its exit status, what it printed, and what it told on the way."""
    # This process's own settings are not the tool's.
    own = ("RELOAD", "RELOAD_TOKEN", "RELOAD_TOKEN_FILE", "MODELS")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    # Files and no pipes: what the tool leaves behind would keep a pipe open.
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as told:
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=printed,
            stderr=told,
            start_new_session=True,  # the gateway's end is not the end of a rollout
        )
        status = await process.wait()
        return status, _lines(printed), _lines(told)


def _lines(file: IO[bytes]) -> list[str]:
    file.seek(0)
    lines = file.read(1024 * 1024).decode(errors="replace").splitlines()
    return [line.rstrip()[:500] for line in lines if line.strip()]


def _name_of(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0].strip("[")
    return host.partition(":")[0]
