"""Why a file of ours cannot be opened or written, the same for every store: too new, no file that can be used, no room on the disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class NewerStore(Exception):
    """The data were written by a newer Batchyard than this one; they are left alone."""


class UnusableStore(Exception):
    """The file cannot be opened for writing: no database, damaged, on a full or failing disk. It is left alone."""


@contextmanager
def opening(path: Path | str) -> Iterator[None]:
    """Around all that is done to open the database at `path`: SQLite's own errors become an `UnusableStore`."""
    try:
        yield
    except apsw.Error as error:
        raise UnusableStore(f"{path} cannot be used: {error}") from error


def is_for_want_of_room(error: BaseException) -> bool:
    """Whether something failed because the disk is full (or the quota on it): nothing of it stayed, and it may be tried again."""
    return isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in _NO_ROOM)


def refuse_newer(path: Path | str, version: int, known: int) -> None:
    """Raise `NewerStore` if `version`, which the file has, is above the latest `known` one."""
    if version > known:
        raise NewerStore(f"{path} has version {version}; this Batchyard knows up to {known}. Use a newer Batchyard, or another folder.")
