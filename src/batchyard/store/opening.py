"""Why a file of ours cannot be opened, the same for every store: it is too new, or it is no file that can be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw


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


def refuse_newer(path: Path | str, version: int, known: int) -> None:
    """Raise `NewerStore` if `version`, which the file has, is above the latest `known` one."""
    if version > known:
        raise NewerStore(f"{path} has version {version}; this Batchyard knows up to {known}. Use a newer Batchyard, or another folder.")
