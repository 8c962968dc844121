"""The log files of jobs with the driver json-file: written by the node in Docker's form, rotated by size, read back by position.

    DIR/json-logs/ATTEMPT[.CONTAINER].json      one line for each line that the job wrote: {"log", "stream", "time"}
    DIR/json-logs/ATTEMPT[.CONTAINER].json.1    the one before it, where max-file allows more than one; then .2 ...

A file that is full is never written again and keeps its inode when it moves on: a reader's position is an inode, an offset, and a mark of
what stands before it.
"""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, NamedTuple

from batchyard.store.logs import file_name

FOLDER = "json-logs"
MAX_SIZE, MAX_FILE = "max-size", "max-file"
OPTIONS = (MAX_SIZE, MAX_FILE)
LINE_BYTES_MAX = 16_384  # where Docker cuts a line: the pieces but for the last have no newline
FILES_MOST = 100
SIZE_BYTES_LEAST = 65_536  # the node has other things to do than to exchange files
READ_BYTES = 1_048_576  # of a file for one answer
_SUFFIX = ".json"
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"([1-9][0-9]{0,11})([bkmg]?)b?", re.IGNORECASE)


class Limits(NamedTuple):
    """How much is kept: files of so many bytes (0: of any size), so many of them."""

    size_bytes: int = 0
    files: int = 1


class Page(NamedTuple):
    """Some lines, oldest first, and where the next ones begin. `events`: (milliseconds since the epoch, text without its newline)."""

    events: list[tuple[int, str]]
    position: str
    is_all: bool  # there is nothing more for now


def limits_of(options: Mapping[str, str]) -> Limits:
    """max-size and max-file. ValueError that says what is wrong with them."""
    size, files = str(options.get(MAX_SIZE) or ""), str(options.get(MAX_FILE) or "1")
    found = _SIZE.fullmatch(size)
    size_bytes = int(found[1]) * _UNITS[found[2].lower()] if found else 0
    if size and size_bytes < SIZE_BYTES_LEAST:
        raise ValueError(f"{MAX_SIZE} {size!r} is not valid. A size looks like 512k, 10m or 1g, and is not below 64k.")
    if not (files.isascii() and files.isdecimal() and 1 <= int(files[:9]) <= FILES_MOST):
        raise ValueError(f"{MAX_FILE} {files!r} is not valid. It is a number from 1 to {FILES_MOST}.")
    return Limits(size_bytes, int(files))


def bounded(limits: Limits, most_bytes: int) -> Limits:
    """The limits, so that all files of a log together have at most `most_bytes` (0: whatever they may have).

    Of a log without max-size the last is kept, in two files, so that never less than half of what may be there is.
    """
    if not most_bytes or (limits.size_bytes and limits.size_bytes * limits.files <= most_bytes):
        return limits
    files = limits.files if limits.size_bytes else max(2, limits.files)
    files = max(1, min(files, most_bytes // SIZE_BYTES_LEAST))
    return Limits(max(SIZE_BYTES_LEAST, most_bytes // files), files)


def path_of(root: Path, attempt: str, container: str) -> Path:
    """Where an attempt's log lies; `container` is "" where it has only one. `root` is DIR/json-logs."""
    return root / file_name(f"{attempt}.{container}{_SUFFIX}" if container else f"{attempt}{_SUFFIX}")


# --- writing ---


class JsonLog:
    """The one writer of an attempt's log. OSError if it cannot be opened."""

    def __init__(self, root: Path, attempt: str, container: str, limits: Limits, now_ms: int) -> None:
        root.mkdir(mode=0o700, exist_ok=True)
        self._path, self._limits = path_of(root, attempt, container), limits
        self._partial = b""
        self._last_ms = now_ms
        self._lost = 0
        self._lost_why = ""
        self._descriptor = self._opened()
        self._end = os.lseek(self._descriptor, 0, os.SEEK_END)

    def feed(self, read: bytes, now_ms: int) -> None:
        """Append what is whole of it; the start of a line waits for the rest."""
        lines = (self._partial + read).split(b"\n")
        self._partial = lines.pop()
        now_ms = self._last_ms = max(self._last_ms, now_ms)
        pieces = [piece for line in lines for piece in _cut(line + b"\n")]
        if len(self._partial) > LINE_BYTES_MAX:
            *whole, self._partial = _cut(self._partial)
            pieces += whole
        if pieces:
            self._append(pieces, now_ms)

    def tick(self, now_ms: int) -> None:
        """Nothing waits here."""

    def finish(self, now_ms: int, note: str = "") -> None:
        """Append an unfinished last line and a `note` of the node, and close the file. Its age counts from now."""
        pieces = [self._partial + (b"\n" if note else b"")] if self._partial else []
        if note:
            pieces.append(note.encode("utf-8", "backslashreplace") + b"\n")
        if pieces:
            self._append(pieces, max(self._last_ms, now_ms))
        os.utime(self._descriptor)
        os.close(self._descriptor)

    def _append(self, pieces: list[bytes], now_ms: int) -> None:
        # Which of the two it wrote to is not known: they are one pipe, so that their lines stay in order.
        end = f',"stream":"stdout","time":"{_stamp(now_ms)}"}}\n'
        lost = [f"[batchyard] {self._lost} lines were lost here: {self._lost_why}\n".encode()] if self._lost else []
        waiting, written = bytearray(), 0
        try:
            for number, piece in enumerate((*lost, *pieces)):
                record = f'{{"log":{encode_basestring(piece.decode("utf-8", "replace"))}{end}'.encode()
                held = self._end + len(waiting)
                if self._limits.size_bytes and held and held + len(record) > self._limits.size_bytes:
                    self._write(waiting)
                    waiting, written = bytearray(), number
                    self._rotate()
                waiting += record
            self._write(waiting)
        except OSError as error:
            # A full disk must not stop the job, nor leave half a line.
            os.ftruncate(self._descriptor, self._end)
            self._lost = len(pieces) + len(lost) - written if written else self._lost + len(pieces)
            self._lost_why = error.strerror or str(error)
            return
        self._lost = 0

    def _write(self, content: bytearray) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._end += len(content)

    def _rotate(self) -> None:
        """Let a new file take the place of the full one, which moves on or goes."""
        for number in range(self._limits.files - 1, 0, -1):
            older, newer = _numbered(self._path, number), _numbered(self._path, number - 1)
            if newer.exists():
                newer.replace(older)
        if self._limits.files == 1:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = self._opened()
        self._end = 0

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _cut(line: bytes) -> list[bytes]:
    """A line in pieces of the size that Docker writes; not within a character where it is UTF-8."""
    pieces: list[bytes] = []
    at = 0
    while len(line) - at > LINE_BYTES_MAX:
        end = at + LINE_BYTES_MAX
        end -= next((back for back in range(4) if line[end - back] & 0xC0 != 0x80), 0)
        pieces.append(line[at:end])
        at = end
    return [*pieces, line[at:]]


def _stamp(at_ms: int) -> str:
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


# --- reading ---


def read(root: Path, attempt: str, container: str, position: str) -> Page:
    """The lines from a position on ("" is the beginning of what is kept). FileNotFoundError if there is no log (any more)."""
    path = path_of(root, attempt, container)
    files = _files(path)
    if not files:
        raise FileNotFoundError(2, "no log is kept", str(path))
    at, from_offset = _found_again(files, position)
    for number in range(at, len(files)):
        file, inode = files[number]
        with open(file, "rb") as reading:
            if os.fstat(reading.fileno()).st_ino != inode:  # it has moved on since we looked
                return Page([], position, is_all=False)
            reading.seek(from_offset)
            content = reading.read(READ_BYTES)
            whole = content[: content.rfind(b"\n") + 1]
            end = from_offset + len(whole)
            here = f"{inode}-{end}-{_mark(reading.fileno(), end)}"
        if whole:
            rest = number + 1 < len(files) or len(content) == READ_BYTES
            return Page(_events(whole), here, is_all=not rest)
        if number + 1 == len(files):
            return Page([], here, is_all=True)
        from_offset = 0
    raise AssertionError("there is a last file")


def _found_again(files: list[tuple[Path, int]], position: str) -> tuple[int, int]:
    """(which of the files, from which byte on) a position means: the beginning, if its file is not there any more.

    File systems use the inode of a removed file again, so what stands before the position has to be what stood there.
    """
    inode, _, rest = position.partition("-")
    offset, _, mark = rest.partition("-")
    for number, (file, found) in enumerate(files):
        if str(found) == inode and offset.isascii() and offset.isdecimal() and len(offset) < 16:
            with open(file, "rb") as reading:
                if _mark(reading.fileno(), int(offset)) == mark:
                    return number, int(offset)
    return 0, 0


def _mark(descriptor: int, offset: int) -> str:
    """Of the bytes before an offset."""
    from_offset = max(0, offset - 256)
    return f"{zlib.crc32(os.pread(descriptor, offset - from_offset, from_offset)):08x}"


def _files(path: Path) -> list[tuple[Path, int]]:
    """The files of a log with their inodes, oldest first."""
    found: list[tuple[Path, int]] = []
    for number in range(FILES_MOST):
        try:
            found.append((_numbered(path, number), _numbered(path, number).stat().st_ino))
        except FileNotFoundError:
            if number:
                break
    return found[::-1]


def _events(content: bytes) -> list[tuple[int, str]]:
    """Pieces of a long line are put together again, as far as they stand here."""
    events: list[tuple[int, str]] = []
    text, at_ms = "", 0
    for line in content.split(b"\n")[:-1]:
        record: dict[str, Any] = json.loads(line)
        text, at_ms = text + record["log"], _milliseconds(record["time"])
        if text.endswith("\n"):
            events.append((at_ms, text[:-1]))
            text = ""
    return [*events, (at_ms, text)] if text else events


def _milliseconds(stamp: str) -> int:
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(stamp[20:23])


# --- forgetting ---


def remove_before(root: Path, before_ms: int, is_held: Callable[[str], bool]) -> int:
    """Remove the logs that nobody has written since; those of attempts that are held stay. How many files went."""
    removed = 0
    if not root.is_dir():
        return 0
    for path in root.iterdir():
        attempt = path.name.partition(".")[0]
        with contextlib.suppress(FileNotFoundError):  # it was just turned over to the next number
            if path.stat().st_mtime * 1000 < before_ms and not is_held(attempt):
                path.unlink()
                removed += 1
    return removed
