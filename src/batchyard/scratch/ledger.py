"""Whose volumes these are: a record beside them, written and synced before anything is made, so that no crash leaves an orphan."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard.scratch.provision import ScratchError
from batchyard.scratch.tools import sync_folder

NAME = "volumes.json"
_LOCK = "lock"

MAKING, MEMBER, REMOVING = "making", "member", "removing"


class Volume(Struct, frozen=True, omit_defaults=True):
    """One disk; `state` is what was about to be done with it."""

    name: str
    size_bytes: int
    state: str = MAKING
    id: str = ""  # what the cloud calls it, once that is known
    attached_as: str = ""  # the name of the device that the cloud was asked for


class Book(Struct, frozen=True, omit_defaults=True):
    """All that is owned in a folder."""

    backend: str
    mount: str
    file_system: str  # its UUID, chosen before it is made
    volumes: tuple[Volume, ...] = ()
    number: int = 0  # of the next volume: names are not used twice
    growing_to_bytes: int = 0  # xfs, quota: the size that the one volume is about to have
    owner: str = ""  # the instance whose volumes these are
    enlarged_at_s: tuple[float, ...] = ()  # when a volume was last asked to be larger: a cloud does that only so often

    def with_volume(self, changed: Volume) -> Book:
        """The book with the volume of that name exchanged, or added."""
        if any(one.name == changed.name for one in self.volumes):
            volumes = tuple(changed if one.name == changed.name else one for one in self.volumes)
            return msgspec.structs.replace(self, volumes=volumes)
        return msgspec.structs.replace(self, volumes=(*self.volumes, changed), number=self.number + 1)

    def volume(self, name: str) -> Volume:
        """The volume of that name."""
        return next(one for one in self.volumes if one.name == name)

    def without(self, name: str) -> Book:
        """The book with the volume of that name forgotten."""
        return msgspec.structs.replace(self, volumes=tuple(one for one in self.volumes if one.name != name))


class Ledger:
    """The record of one folder, held by one process at a time (and by the commands that it runs)."""

    def __init__(self, folder: Path, *, patience_s: float = 60.0) -> None:
        """Take the folder; waits for the commands of a dead daemon, at most `patience_s`."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(self.lock)
                    raise ScratchError(f"{folder} is held by another daemon, or by a command that it left running") from None
                time.sleep(0.02)
        self.book = read(folder)

    def write(self, book: Book) -> None:
        """Make `book` what is recorded; durable when this returns."""
        partial = self.folder / f"{NAME}.new"
        with open(partial, "wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(book), indent=1) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(self.folder / NAME)
        sync_folder(self.folder)
        self.book = book

    def forget(self) -> None:
        """Nothing is owned here any more."""
        (self.folder / NAME).unlink(missing_ok=True)
        sync_folder(self.folder)
        self.book = None

    def set_aside(self, whose: str) -> None:
        """The record is of somebody else's volumes: keep it under another name, and begin anew."""
        (self.folder / NAME).replace(self.folder / f"volumes-of-{whose}.json")
        sync_folder(self.folder)
        self.book = None

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.lock)


def read(folder: Path) -> Book | None:
    """What is recorded in `folder`; None where nothing is."""
    try:
        written = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(written, type=Book)
    except msgspec.MsgspecError as error:
        raise ScratchError(f"{folder / NAME} cannot be read: {error}. It says whose the files beside it are; nothing is touched") from None
