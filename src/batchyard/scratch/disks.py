"""Disks that can be had: what a file system that grows is made of, whether they are files of this machine or volumes of a cloud."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from batchyard.scratch.ledger import Book, Ledger, Volume
from batchyard.scratch.provision import ScratchError


class Disks(Protocol):
    """A source of disks. Each verb can be repeated, and finds what an earlier one of a killed daemon did."""

    kind: str  # the first half of the name of a back end
    unit_bytes: int  # sizes are whole numbers of these
    smallest_bytes: int
    largest_bytes: int
    volumes_max: int

    def owner(self) -> str:
        """Whose the disks are, where the record could come to another machine (with an image of its disk); "" where it cannot."""

    def name(self, book: Book) -> str:
        """What the next one in `book` is to be called: nobody else's is."""

    def make(self, volume: Volume) -> Volume:
        """It exists. Returns it with what is to be recorded of it. Raises `NoRoom` if there is none to be had."""

    def find(self, volume: Volume) -> Volume | None:
        """It, if it exists; with what is to be recorded of it."""

    def attach(self, volume: Volume) -> str:
        """The device (`/dev/...`, as the kernel calls it) on which it is; attached if it was not."""

    def device_of(self, volume: Volume) -> str | None:
        """The device on which the kernel has it. Asks nobody but the kernel."""

    def detach(self, volume: Volume) -> None:
        """This machine does not have it any more."""

    def delete(self, volume: Volume) -> None:
        """It does not exist any more."""

    def enlarge(self, volume: Volume, size_bytes: int) -> None:
        """It, and the device on it, are at least so large."""

    def take_back(self, volume: Volume) -> bool:
        """After an `enlarge` that failed: whether it is as large as `volume` says, for certain, and stays so."""

    def grows_left(self, book: Book) -> int | None:
        """How often a disk in `book` may still be enlarged for now; None: as often as one likes."""

    def room_bytes(self) -> int | None:
        """How much more there is to be had, as far as this machine knows; None: only who is asked for it knows."""

    def owes_sweep(self) -> bool:
        """Whether a `find` in vain may have been too early, and another `sweep` would know by now."""

    def sweep(self, known: Iterable[Volume], in_use: set[str]) -> None:
        """Take away disks of ours that no record knows. Devices `in_use` are left alone."""


def opened(ledger: Ledger, disks: Disks, file_system: str, mount: Path, initial_bytes: int) -> tuple[Book, bool]:
    """What is recorded, or is to be recorded first (then True).

    A record that came with an image of another machine's disk is set aside: those disks are that machine's.
    """
    kind, place = f"{disks.kind}-{file_system}", str(mount.resolve())
    book, owner = ledger.book, disks.owner()
    if book is not None and book.owner != owner:
        ledger.set_aside(book.owner or "nobody")
        book = None
    if book is None:
        empty = Book(kind, place, str(uuid.uuid4()), owner=owner)
        return empty.with_volume(Volume(disks.name(empty), initial_bytes)), True
    if (book.backend, book.mount) != (kind, place):
        raise ScratchError(f"{ledger.folder} holds {book.backend} of {book.mount}: give this one a --store of its own")
    return book, False
