"""Lines on their way into objects: appended to files without a sync, sealed now and then, and removed once somebody has them for good.

    FOLDER/NAME.open            a label on the first line, then lines; still being appended to
    FOLDER/MS-NAME.sealed       the same, complete; sealed at MS

What was appended survives `kill -9`. What becomes of a sealed file may be derived from its name: whoever is cut off between taking
over the lines and removing the file takes over the same ones under the same name again.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .folders import make_folder

SEAL_BYTES = 16 * 1024 * 1024  # a larger file is sealed at once, so that who takes it over need not hold more


@dataclass(frozen=True, slots=True)
class Sealed:
    """A complete file: `name` (16 hexadecimal digits, never given twice) and `at_ms` stay what they are over any crash."""

    path: Path
    name: str
    at_ms: int

    def read(self) -> tuple[bytes, bytes]:
        """(the label, the lines). A line that a crash cut off is left out."""
        label, _, rest = self.path.read_bytes().partition(b"\n")
        return label, rest[: rest.rfind(b"\n") + 1]


@dataclass(slots=True)
class _Open:
    path: Path
    handle: int
    size: int


class Spool:
    """One per folder and process; usable from any thread. Files that an earlier process left open are sealed first."""

    def __init__(self, folder: Path, now_ms: Callable[[], int]) -> None:
        make_folder(folder)
        self._folder = folder
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._open: dict[bytes, _Open] = {}
        for path in sorted(folder.glob("*.open")):
            self._rename(path)

    def append(self, label: bytes, lines: Iterable[bytes]) -> None:
        """Append lines (each with its line feed) under a label (without one). Raises `OSError` without room: then none is kept."""
        text = b"".join(lines)
        with self._lock:
            held = self._open.get(label) or self._new(label)
            try:
                while text:
                    text = text[os.write(held.handle, text) :]
            except OSError:
                os.ftruncate(held.handle, held.size)  # half a line would take the next one with it
                raise
            held.size = os.lseek(held.handle, 0, os.SEEK_END)
            if held.size >= SEAL_BYTES:
                self._seal(label)

    def seal(self) -> None:
        """Let what was appended so far be complete."""
        with self._lock:
            for label in list(self._open):
                self._seal(label)

    def sealed(self) -> Iterator[Sealed]:
        """The complete files, oldest first."""
        found = []
        for path in self._folder.glob("*.sealed"):
            at_ms, _, name = path.stem.partition("-")
            found.append(Sealed(path, name, int(at_ms)))
        yield from sorted(found, key=lambda file: (file.at_ms, file.name))

    def _new(self, label: bytes) -> _Open:
        path = self._folder / f"{secrets.token_hex(8).upper()}.open"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.write(handle, label + b"\n")
            if size <= len(label):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(handle)
            path.unlink()
            raise
        self._open[label] = _Open(path, handle, size)
        return self._open[label]

    def _seal(self, label: bytes) -> None:
        held = self._open.pop(label)
        os.close(held.handle)
        self._rename(held.path)

    def _rename(self, path: Path) -> None:
        path.rename(path.with_name(f"{self._now_ms()}-{path.stem}.sealed"))
