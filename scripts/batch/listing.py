"""
What is to be scored: inputs -> a file of names, in a defined order, before anything is scored.

The order: inputs as they are given; of a folder its own files by name, then its folders by name,
each the same way. The list is kept until the run is finished: a folder that changes meanwhile
changes neither the order nor what a run that is taken up again still has to do.
"""

from __future__ import annotations

import glob
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.batch import source

SUFFIXES: Final = frozenset(
    # What is scored, and what is refused with its own name, so that somebody learns of it.
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
        ".heic", ".heif", ".avif", ".jxl", ".jp2", ".ico", ".psd", ".svg", ".dng", ".cr2", ".cr3",
        ".nef", ".arw", ".orf", ".rw2",
    }
)  # fmt: skip
"""Endings, in any case, of the files that are taken out of a folder."""
STANDARD_INPUT: Final = "-"
LIST_SUFFIX: Final = ".txt"
Said = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Item:
    """
    One line of the listing.

    Attributes:
        name: Of the file; of a folder that cannot be listed, the folder's.
        problem: Why the folder cannot be listed; "" for a file.
    """

    name: str
    problem: str = ""


def root_of(inputs: Sequence[str]) -> tuple[str, bool]:
    """
    Return what names are relative to, and whether they are given without it.

    One folder alone: names are relative to it, so they stay the same where it is mounted elsewhere.
    Otherwise: names are as they were given, relative to the working folder.
    """
    if len(inputs) == 1 and inputs[0] != STANDARD_INPUT:
        only = inputs[0]
        if source.is_remote(only):
            if not glob.has_magic(only):
                system, path = source.open_filesystem(only)
                if not system.isfile(path):
                    return only.rstrip("/"), True
        elif os.path.isdir(only):
            return os.path.abspath(only), True
    return os.getcwd(), False


class Listing:
    """
    Inputs, walked.

    Args:
        inputs: Folders, files, patterns, files of names that end in `.txt`, `-`, and addresses.
        takes_all: Take files of a folder whatever they are called.

    Attributes:
        passed_over: Files of folders that are not called like an image.
    """

    def __init__(self, inputs: Sequence[str], takes_all: bool = False) -> None:
        self._inputs = inputs
        self._takes_all = takes_all
        self._root, self._is_relative = root_of(inputs)
        self.passed_over = 0

    def __iter__(self) -> Iterator[Item]:
        """
        Walk.

        Raises:
            FileNotFoundError: An input that is there no more, or never was.
            ValueError: The package for an address is not installed.
        """
        for given in self._inputs:
            if given == STANDARD_INPUT:
                if isinstance(sys.stdin, io.TextIOWrapper):  # a name may be no text
                    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
                yield from _names_in(sys.stdin)
            elif source.is_remote(given):
                yield from self._remote(given)
            elif os.path.isdir(given):
                yield from self._folder(given, "" if self._is_relative else given)
            elif given.lower().endswith(LIST_SUFFIX):
                with open(given, encoding="utf-8-sig", errors="surrogateescape") as file:
                    yield from _names_in(file)
            elif os.path.lexists(given):
                yield Item(name=given)
            else:
                yield from self._pattern(given)

    def _folder(
        self, path: str, shown: str, above: frozenset[tuple[int, int]] = frozenset()
    ) -> Iterator[Item]:
        try:
            status = os.stat(path)
            identity = (status.st_dev, status.st_ino)
            if identity in above:  # a link to a folder that it lies in
                return
            with os.scandir(path) as entries:
                files, folders = self._sorted(entries)
        except OSError as error:
            yield Item(name=f"{shown or path}/", problem=source.in_words(error))
            return
        for name in files:
            yield Item(name=os.path.join(shown, name))
        for name in folders:
            yield from self._folder(
                os.path.join(path, name), os.path.join(shown, name), above | {identity}
            )

    def _sorted(self, entries: Iterable[os.DirEntry[str]]) -> tuple[list[str], list[str]]:
        files, folders = [], []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif self._is_wanted(entry.name) and (entry.is_symlink() or entry.is_file()):
                files.append(entry.name)
        files.sort()
        folders.sort()
        return files, folders

    def _pattern(self, pattern: str) -> Iterator[Item]:
        found = sorted(
            path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path)
        )
        if not found:
            raise FileNotFoundError(
                f"{pattern}: expected a folder, a file, a pattern that fits some, a file of names "
                "(.txt), - or an address (s3://...), got none of these. Check the name."
            )
        for name in found:
            yield Item(name=name)

    def _remote(self, address: str) -> Iterator[Item]:
        system, path = source.open_filesystem(address)
        if glob.has_magic(address):
            names = sorted(system.glob(path))
            if not names:
                raise FileNotFoundError(f"{address}: expected files that fit, got none.")
        elif system.isfile(path):
            names = [path]
        else:
            yield from self._remote_folder(system, path)
            return
        for name in names:
            yield Item(name=system.unstrip_protocol(name))

    def _remote_folder(self, system: Any, top: str) -> Iterator[Item]:
        """Walk as a folder of this machine is walked; an object store is asked level by level."""
        problems: list[OSError] = []
        levels = system.walk(top, on_error=problems.append, detail=False)
        is_empty = True
        for path, folders, files in levels:
            folders.sort()  # walked in this order
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in sorted(files):
                if name and not name.startswith(".") and self._is_wanted(name):
                    is_empty = False
                    whole = f"{path.rstrip('/')}/{name}"
                    relative = whole.removeprefix(top.rstrip("/") + "/")
                    yield Item(
                        name=relative if self._is_relative else system.unstrip_protocol(whole)
                    )
        if is_empty and not self.passed_over and not system.exists(top):
            raise FileNotFoundError(
                f"{system.unstrip_protocol(top)}: expected a folder or a file, got nothing there. "
                "Check the name."
            )
        for problem in problems:
            yield Item(name=system.unstrip_protocol(top) + "/", problem=source.in_words(problem))

    def _is_wanted(self, name: str) -> bool:
        if self._takes_all or os.path.splitext(name)[1].lower() in SUFFIXES:
            return True
        self.passed_over += 1
        return False


def write(items: Iterable[Item], path: Path, say: Said) -> int:
    """
    Write the listing, whole or not at all.

    Args:
        items: In order.
        path: The file.
        say: Told how many there are so far, now and then.

    Returns:
        How many there are.
    """
    unfinished = path.with_suffix(".part")
    count = 0
    with unfinished.open("w") as file:
        for item in items:
            line = [item.name, item.problem] if item.problem else [item.name]
            file.write(json.dumps(line) + "\n")
            count += 1
            if count % 1000 == 0:
                say(count)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return count


def read(path: Path) -> Iterator[Item]:
    """Read a listing, line by line."""
    with path.open() as file:
        for line in file:
            name, *problem = json.loads(line)
            yield Item(name=name, problem=problem[0] if problem else "")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder; a link that leads nowhere, or round, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _names_in(lines: Iterable[str]) -> Iterator[Item]:
    for line in lines:
        if name := line.rstrip("\r\n"):
            yield Item(name=name)
