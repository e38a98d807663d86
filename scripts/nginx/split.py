"""
Requests split between two versions: what the deploy tool asks of a front that runs.

    begin      a configuration that knows the candidate; nothing goes to it yet
    give       the share of a step, from the next request on: a file, and no reload
    take_back  all to the default version again, from the next request on: the files are renamed
    end        the configuration as it was

None of them loses a request. The split belongs to the process that began it: where that
one dies, the supervisor takes it back (`take_back_if_abandoned`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import psutil

from scripts.nginx.reload import NoFront, reload
from scripts.nginx.settings import CONFIG, SPLIT_LOG, Settings, render
from scripts.server import process_start
from scripts.server.file_lock import locked
from scripts.server.process_end import has_ended
from scripts.server.state import replace_text

Kind = Literal["canary", "shadow"]

SETTINGS: Final = "settings.json"
"""In FRONT_DIR: what the front was started with."""
OWNER: Final = "split.json"
"""In FRONT_DIR: the split that is on, and the process that looks after it."""
STEPS: Final = "split"
"""In FRONT_DIR: a folder with an empty file for each step that was given."""
NEW_SOCKET: Final = "new.sock"
OLD_SOCKET: Final = "old.sock"
"""In FRONT_DIR: the front's doors to the candidate, and to the default version for what that one
did not answer."""
LOCK_S: Final = 5.0
READ_TIMEOUT: Final = {"canary": "5s", "shadow": "20ms"}
"""How long nginx waits for the candidate. A client waits as much longer where it hangs; a copy's
answer is of no interest, and TorchServe scores it all the same."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """
    Which requests go to a candidate.

    Attributes:
        kind: `canary`: the candidate answers them. `shadow`: it gets copies, nobody its answers.
        model_name: Of the model, as served.
        version: The candidate, loaded beside the default version.
        shares: In percent, rising: what it gets in each step.

    Raises:
        ValueError: The shares do not rise within (0, 100], or the version is no number.
    """

    kind: Kind
    model_name: str
    version: str
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in pairwise((0.0, *self.shares)))
        if not self.shares or not rising or self.shares[-1] > 100:
            told = ",".join(f"{share:g}" for share in self.shares)
            raise ValueError(f"shares: expected rising ones above 0 and up to 100, got {told}.")
        if not self.version.isdecimal():
            raise ValueError(f"version: expected a number, got {self.version!r}.")

    def __str__(self) -> str:
        return f"a {self.kind} of {self.model_name} version {self.version}"

    def values(self) -> dict[str, str]:
        """Return the values of the template's SPLIT_ placeholders."""
        parts = [f"{high - low:.2f}%" for low, high in pairwise((0.0, *self.shares))]
        if self.shares[-1] == 100:
            parts[-1] = "*"
        steps = [f"{part} {step};" for step, part in enumerate(parts, 1)]
        steps += [] if self.shares[-1] == 100 else ["* none;"]
        return {
            "SPLIT_MODEL": self.model_name.replace(".", "[.]"),
            "SPLIT_NAME": self.model_name,
            "SPLIT_VERSION": self.version,
            "SPLIT_STEPS": " ".join(steps),
            "SPLIT_READ_TIMEOUT": READ_TIMEOUT[self.kind],
        }


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The split that is on, and the process that looks after it."""

    split: str
    model_name: str
    pid: int
    started_at_s: float

    @classmethod
    def this_process(cls, split: Split) -> Owner:
        """Return it for this process."""
        pid = os.getpid()
        return cls(
            split=str(split),
            model_name=split.model_name,
            pid=pid,
            started_at_s=process_start.started_at_s(pid),
        )

    def lives(self) -> bool:
        """Tell whether the process is there still."""
        try:
            is_same = process_start.started_at_s(self.pid) == self.started_at_s
            return is_same and not has_ended(psutil.Process(self.pid))
        except psutil.NoSuchProcess:
            return False


class SplitFront:
    """
    A front that runs on this machine, and its split.

    Args:
        folder: FRONT_DIR.
        patience_s: What requests that a candidate has in hand get before its doors are closed: a
            little more than nginx waits for it.
    """

    def __init__(self, folder: Path, patience_s: float = 6.0) -> None:
        self.folder, self._patience_s = folder, patience_s
        self.log = folder / SPLIT_LOG

    def begin(self, split: Split) -> None:
        """
        Let the front know a candidate, in place of one that somebody left.

        Raises:
            NoFront: None runs here, it has no such model, it has another split, or it refuses.
        """
        settings = self._settings()
        models = settings["FRONT_MODELS"].replace("[.]", ".").split("|")
        if split.model_name not in models:
            raise NoFront(f"front: expected one that passes {split.model_name}, got {models}.")
        self._own(split)
        try:
            self.take_back()
            self._wait_for_its_last()
            self.log.unlink(missing_ok=True)
            if not self.is_configured():  # else nginx listens there
                self._remove_sockets()
            reload(self.folder, render(settings, split.values(), split.kind))
        except BaseException:
            self._owner_file.unlink(missing_ok=True)
            raise

    def give(self, step: int) -> None:
        """Let the candidate have the share of a step, the first being 1, and those before."""
        (self.folder / STEPS).mkdir(exist_ok=True)
        for each in range(1, step + 1):
            (self.folder / STEPS / str(each)).touch()

    def take_back(self) -> bool:
        """Let all requests go to the default version; return whether a candidate had some."""
        gone = self.folder / f"{STEPS}.{os.getpid()}"
        try:
            (self.folder / STEPS).rename(gone)  # all steps at once
        except FileNotFoundError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def end(self) -> None:
        """
        Take back, and let the front forget the candidate; nothing where it knows none.

        Raises:
            NoFront: It does not run or refuses; what it knows has no effect.
        """
        self.take_back()
        self._wait_for_its_last()
        if self.is_configured():
            reload(self.folder, render(self._settings()))
        self._owner_file.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    def gives(self) -> bool:
        """Tell whether a candidate has a share, or sees copies."""
        return (self.folder / STEPS).is_dir()

    def is_configured(self) -> bool:
        """Tell whether the front knows a candidate."""
        config = self.folder / CONFIG
        return config.exists() and f"/{SPLIT_LOG} " in config.read_text()

    def is_ours(self, split: Split) -> bool:
        """Tell whether a split of this process is on; a front that was started again has none."""
        return self.owner() == Owner.this_process(split)

    def paths_of(self, model_name: str) -> set[str]:
        """Return the addresses whose requests a canary of a model splits."""
        first = self._settings()["FRONT_MODELS"].partition("|")[0].replace("[.]", ".")
        paths = {f"/predictions/{model_name}", f"/explanations/{model_name}"}
        return paths | ({"/predict"} if first == model_name else set())

    def owner(self) -> Owner | None:
        """Return who has a split here; None: nobody."""
        try:
            return Owner(**json.loads(self._owner_file.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def take_back_if_abandoned(self) -> Owner | None:
        """Take back a split whose process has died; return who that was."""
        owner = self.owner()
        if owner is None or owner.lives():
            return None
        self.take_back()
        self._owner_file.unlink(missing_ok=True)
        return owner

    def forget(self) -> None:
        """Remove what a split left, before nginx is started: it begins without one."""
        self.take_back()
        self._remove_sockets()
        for path in (self._owner_file, self.log):
            path.unlink(missing_ok=True)

    def _wait_for_its_last(self) -> None:
        """Wait for requests that may fall back still, by a door that a reload closes."""
        config = self.folder / CONFIG
        if config.exists() and f"/{OLD_SOCKET}" in config.read_text():
            time.sleep(self._patience_s)

    def _remove_sockets(self) -> None:
        for name in (NEW_SOCKET, OLD_SOCKET):
            (self.folder / name).unlink(missing_ok=True)

    def _own(self, split: Split) -> None:
        with locked(self.folder / "split.lock", LOCK_S, "the begin of another split"):
            owner = self.owner()
            # Syncs of one model are never two at a time: another split is another model's.
            if owner is not None and owner.lives() and owner.model_name != split.model_name:
                raise NoFront(f"front: expected none of its requests split, got {owner.split}.")
            told = json.dumps(dataclasses.asdict(Owner.this_process(split)))
            replace_text(self._owner_file, told + "\n")

    def _settings(self) -> Settings:
        try:
            settings: Settings = json.loads((self.folder / SETTINGS).read_text())
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise NoFront(
                "front: expected one that scripts/run_torchserve.sh started here, got none. "
                "Without one nothing can be split: leave --canary or --shadow out."
            ) from error
        return settings

    @property
    def _owner_file(self) -> Path:
        return self.folder / OWNER
