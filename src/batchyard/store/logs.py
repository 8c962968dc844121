"""The log segment of a job's attempt: one file that its node appends to and that anyone may read at the same time.

A segment has exactly one writer (it holds an advisory lock while it is open) and any number of readers, which look at the file
afresh each time. Little but the standard library is imported here, because the node's small process lives on this module.

    file    = header line, then frames
    header  = "batchyard-log 1 " + JSON {"group", "stream", "created_at_ms"} + newline
    frame   = length u32 | crc32 u32 | timestamp i64 | message | length u32        (little endian; the crc covers timestamp and message)

The length at both ends lets a reader walk either way. What follows the last sound frame is a write that is under way or that was
cut short by a crash: readers stop before it, and the next writer cuts it off. Timestamps within a segment never run backwards.
The segments of a group share a directory, whose `about.json` says the group's name and age.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import string
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from batchyard.store.folders import make_folder, sync, sync_folder

MESSAGE_BYTES_MAX = 1_048_550  # CloudWatch Logs: an event is at most 1 MiB, of which 26 bytes count as overhead
LINE_BYTES_MAX = 262_118  # where the awslogs driver cuts a line that is longer: 256 KiB less the same 26 bytes
DEFAULT_GROUP = "/aws/batch/job"
SUFFIX = ".log"
ABOUT_GROUP = "about.json"
DRAFT = ".new-"  # of a group's directory, before it has its name

_MAGIC = b"batchyard-log 1 "
HEAD = struct.Struct("<IIq")
_LENGTH = struct.Struct("<I")
_STAMP = struct.Struct("<q")
AROUND = HEAD.size + _LENGTH.size
_HEADER_BYTES_MAX = 16_384
_CHUNK = 65_536
_NAME_BYTES_MAX = 200
_quoted = json.encoder.encode_basestring_ascii  # what `dumps` does with a string, without the rest of it
_PLAIN = frozenset(string.ascii_lowercase + string.digits + "._-")


class Entry(NamedTuple):
    """One event of a segment: it lies in the bytes from `offset` up to `end`."""

    timestamp_ms: int
    message: bytes
    offset: int
    end: int


class Header(NamedTuple):
    """What a segment says about itself; `end` is where its frames begin."""

    group: str
    stream: str
    created_at_ms: int
    end: int


# --- names ---


def file_name(name: str) -> str:
    """A file name for any group or stream name: lower-case ASCII only (file systems may ignore case), never hidden, never too long.

    Reversible by `plain_name`, unless the result would be longer than 200 bytes: then it is "~", a beginning and a digest.
    """
    encoded = name.translate(_ENCODED) if name.isascii() else "".join(map(_encoded, name))
    if encoded.startswith("."):
        encoded = "%2e" + encoded[1:]
    if len(encoded) <= _NAME_BYTES_MAX and encoded:
        return encoded
    from hashlib import sha256  # rarely needed, and it loads a large library

    return f"~{encoded[:100]}~{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def _encoded(character: str) -> str:
    if character in _PLAIN:
        return character
    if character == "/":
        return ","
    if "A" <= character <= "Z":
        return "+" + character.lower()
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


_ENCODED = {number: _encoded(chr(number)) for number in range(128)}


def plain_name(encoded: str) -> str | None:
    """The name that `file_name` made `encoded` from; None where only the segment's header can say it."""
    if encoded.startswith("~"):
        return None
    found = bytearray()
    at = 0
    while at < len(encoded):
        character = encoded[at]
        if character == "%":
            found.append(int(encoded[at + 1 : at + 3], 16))
            at += 3
        elif character == "+":
            found += encoded[at + 1].upper().encode()
            at += 2
        else:
            found += b"/" if character == "," else character.encode()
            at += 1
    return found.decode("utf-8", "surrogatepass")


@lru_cache(64)
def group_path(root: Path, account: str, region: str, group: str) -> Path:
    """The directory that holds the segments of a log group."""
    return root / file_name(account) / file_name(region) / file_name(group)


def segment_path(root: Path, account: str, region: str, group: str, stream: str) -> Path:
    """Where the segment of a stream lies, whether it is there or not. `root` is the folder of all logs (DIR/logs)."""
    return group_path(root, account, region, group) / (file_name(stream) + SUFFIX)


# --- writing ---


def frame(timestamp_ms: int, message: bytes) -> bytes:
    """The bytes to append for one event. Join several into one `os.write`; it may be short: go on with the rest.

    Writers leave out empty messages, as the awslogs driver does. ValueError above `MESSAGE_BYTES_MAX`.
    """
    length = len(message)
    if length > MESSAGE_BYTES_MAX:
        raise ValueError(f"a log message may have at most {MESSAGE_BYTES_MAX} bytes, this one has {length}: cut it")
    return HEAD.pack(length, _crc(timestamp_ms, message), timestamp_ms) + message + _LENGTH.pack(length)


def _crc(timestamp_ms: int, message: bytes) -> int:
    return zlib.crc32(message, zlib.crc32(_STAMP.pack(timestamp_ms)))


def open_segment(root: Path, account: str, region: str, group: str, stream: str, created_at_ms: int) -> int:
    """A descriptor to append frames to, locked for its one writer until it is closed; from here on the stream exists.

    Parents are made as needed. A segment that was left by a crash is continued, without its torn tail. The descriptor is not
    inherited across exec. BlockingIOError if another writer has the segment open.
    """
    descriptor = _open_making_group(group_path(root, account, region, group), file_name(stream) + SUFFIX, group, created_at_ms)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = os.fstat(descriptor).st_size
        sound = sound_end(descriptor) if size else 0
        if sound < size:
            os.ftruncate(descriptor, sound)
        if not sound:
            about = f'{{"group": {_quoted(group)}, "stream": {_quoted(stream)}, "created_at_ms": {created_at_ms}}}'
            line = _MAGIC + about.encode() + b"\n"
            if os.write(descriptor, line) < len(line):  # what is behind half a header nobody can read
                os.ftruncate(descriptor, 0)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_making_group(directory: Path, name: str, group: str, created_at_ms: int) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    while True:
        try:
            return os.open(f"{directory}/{name}", flags, 0o640)
        except FileNotFoundError:
            # Again and again, because deleting the log group may take the directory away in between.
            make_group(directory, group, created_at_ms)


def make_group(directory: Path, group: str, created_at_ms: int) -> None:
    """Make the directory of a group together with the note that says its name and age, for good; nothing happens if it is there."""
    make_folder(directory.parent)
    draft = directory.parent / f"{DRAFT}{os.getpid()}-{os.urandom(6).hex()}"
    draft.mkdir(mode=0o750)
    try:
        with (draft / ABOUT_GROUP).open("w") as note:
            note.write(json.dumps({"group": group, "created_at_ms": created_at_ms}))
            note.flush()
            sync(note.fileno())
        sync_folder(draft)
        draft.rename(directory)
    except OSError as error:
        (draft / ABOUT_GROUP).unlink(missing_ok=True)
        draft.rmdir()
        # It was there when it mattered, even if somebody has deleted it since: who needs it then makes it again.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) and not directory.is_dir():
            raise
        return
    sync_folder(directory.parent)


# --- reading ---


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor for reading; FileNotFoundError if the stream has no segment."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def header(descriptor: int) -> Header | None:
    """What the segment says about itself; None while its writer has not finished that line."""
    start = os.pread(descriptor, 512, 0)
    if b"\n" not in start and len(start) == 512:
        start = os.pread(descriptor, _HEADER_BYTES_MAX, 0)
    line, newline, _ = start.partition(b"\n")
    if not newline or not line.startswith(_MAGIC):
        return None
    try:
        about = json.loads(line[len(_MAGIC) :])
        return Header(about["group"], about["stream"], about["created_at_ms"], len(line) + 1)
    except (ValueError, KeyError, TypeError):
        return None


def entries(descriptor: int, from_offset: int = 0) -> Iterator[Entry]:
    """The events from `from_offset` (a frame's offset or end; 0: the first) on, oldest first, up to the last sound frame."""
    if from_offset <= 0:
        about = header(descriptor)
        if about is None:
            return
        from_offset = about.end
    chunk, base, at = b"", from_offset, 0
    while True:
        found = parsed(chunk, at)
        if found is None:
            # Not whole in this chunk, or not sound: a look at the file itself tells which.
            chunk, base, at = chunk_from(descriptor, base + at), base + at, 0
            found = parsed(chunk, 0)
            if found is None:
                return
        timestamp_ms, message, size = found
        yield Entry(timestamp_ms, message, base + at, base + at + size)
        at += size


def entries_back(descriptor: int, before: int, floor: int) -> Iterator[Entry]:
    """The events between the offsets `floor` and `before` (both where a frame begins or ends), newest first."""
    end, base, chunk = before, before, b""
    while end - floor >= AROUND:
        if end - base < _LENGTH.size:
            base = max(floor, end - _CHUNK)
            chunk = os.pread(descriptor, end - base, base)
        if len(chunk) < end - base:
            return
        start = end - _LENGTH.unpack_from(chunk, end - base - _LENGTH.size)[0] - AROUND
        if start < floor:
            return
        if start < base:
            base = max(floor, min(start, end - _CHUNK))
            chunk = os.pread(descriptor, end - base, base)
        found = parsed(chunk, start - base)
        if found is None or start + found[2] != end:
            return
        yield Entry(found[0], found[1], start, end)
        end = start


def chunk_from(descriptor: int, offset: int) -> bytes:
    """Some bytes from `offset` on: the whole of the frame there, as far as it is written, and a few thousand more."""
    chunk = os.pread(descriptor, _CHUNK, offset)
    if len(chunk) == _CHUNK:
        whole = HEAD.unpack_from(chunk)[0] + AROUND
        if _CHUNK < whole <= MESSAGE_BYTES_MAX + AROUND:
            return os.pread(descriptor, whole, offset)
    return chunk


def parsed(chunk: bytes, at: int) -> tuple[int, bytes, int] | None:
    """(timestamp, message, size of the frame) of the sound frame at `at`, or None."""
    if len(chunk) - at < AROUND:
        return None
    length, crc, timestamp_ms = HEAD.unpack_from(chunk, at)
    size = length + AROUND
    if len(chunk) - at < size or _LENGTH.unpack_from(chunk, at + size - _LENGTH.size)[0] != length:
        return None
    message = chunk[at + HEAD.size : at + HEAD.size + length]
    return (timestamp_ms, message, size) if _crc(timestamp_ms, message) == crc else None


def sound_end(descriptor: int) -> int:
    """Where the last sound frame ends: what lies behind it is torn. 0 if not even the header is whole."""
    about = header(descriptor)
    if about is None:
        return 0
    end = about.end
    for entry in entries(descriptor, about.end):
        end = entry.end
    return end
