"""What an attempt writes: cut into lines, stamped as it is read, appended to the segment of its log stream."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from batchyard.model.messages import Launch
from batchyard.store.logs import LINE_BYTES_MAX, frame, open_segment

EVENT_S = 5.0  # how long the lines of one event may keep coming, as with the awslogs driver
SEARCHED_BYTES = 128  # of a line, for the pattern by which an event begins: the node has other things to do than to search


class Sink(Protocol):
    """Where the output of a container goes."""

    def feed(self, read: bytes, now_ms: int) -> None:
        """It has written this."""
        ...

    def tick(self, now_ms: int) -> None:
        """Called now and then."""
        ...

    def finish(self, now_ms: int, note: str = "") -> None:
        """It is over; `note` is what the node has to say about it."""
        ...


def sink_of(logs: Path, launch: Launch, name: str, now_ms: int) -> Sink:
    """What the log driver of a container asks for. `logs` is the folder of log streams, `name` the container's within its task. OSError."""
    match launch.log_driver:
        case "":
            return Output(logs, launch.account, launch.region, launch.log_group, launch.log_stream, now_ms, launch.log_begins)
        case "json-file":
            from batchyard.store.json_logs import FOLDER, JsonLog, limits_of

            return JsonLog(logs.parent / FOLDER, launch.attempt, name, limits_of(launch.log_options), now_ms)
        case _:
            return Nowhere()


class Nowhere:
    """Of the driver none: nothing is kept."""

    def feed(self, read: bytes, now_ms: int) -> None:
        """Gone."""

    def tick(self, now_ms: int) -> None:
        """Nothing waits here."""

    def finish(self, now_ms: int, note: str = "") -> None:
        """Nothing is open here."""


class Output:
    """The one writer of a stream. Blank lines are left out and long ones cut, as the awslogs driver does; stamps never run backwards.

    With `begins`, a pattern, the lines from one in which it is found up to the next such one are one event
    (awslogs-multiline-pattern).
    """

    def __init__(self, root: Path, account: str, region: str, group: str, stream: str, now_ms: int, begins: str = "") -> None:
        self._begins = re.compile(begins.encode()) if begins else None
        self._event: list[bytes] = []  # lines of an event that may go on
        self._event_ms = now_ms
        self._descriptor = open_segment(root, account, region, group, stream, now_ms)
        self._end = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._partial = b""
        self._last_ms = now_ms
        self._lost = 0
        self._lost_why = ""

    def feed(self, read: bytes, now_ms: int) -> None:
        """Append what is whole of it; the start of a line waits for the rest."""
        lines = (self._partial + read).split(b"\n")
        self._partial = lines.pop()
        frames: list[bytes] = []
        now_ms = self._last_ms = max(self._last_ms, now_ms)
        for line in lines:
            if len(line) <= LINE_BYTES_MAX:
                self._take(line, now_ms, frames)
            else:
                pieces, last = cut(line)
                for piece in (*pieces, last):
                    self._take(piece, now_ms, frames)
        if len(self._partial) > LINE_BYTES_MAX:
            pieces, self._partial = cut(self._partial)
            for piece in pieces:
                self._take(piece, now_ms, frames)
        if frames:
            self._append(frames)

    def tick(self, now_ms: int) -> None:
        """Called now and then: an event that waits for more lines does not wait for ever."""
        if self._event and now_ms > self._event_ms + EVENT_S * 1000:
            self._append([self._event_frame()])

    def _take(self, line: bytes, now_ms: int, frames: list[bytes]) -> None:
        """A line, or a piece of one that is too long."""
        if self._begins is None:
            if line:
                frames.append(frame(now_ms, line))
            return
        size = sum(len(part) + 1 for part in self._event)
        if self._event and (size + len(line) > LINE_BYTES_MAX or self._begins.search(line[:SEARCHED_BYTES])):
            frames.append(self._event_frame())
        if line or self._event:
            self._event_ms = self._event_ms if self._event else now_ms
            self._event.append(line)

    def _event_frame(self) -> bytes:
        lines, self._event = self._event, []
        return frame(self._event_ms, b"\n".join(lines).rstrip(b"\n"))

    def finish(self, now_ms: int, note: str = "") -> None:
        """Append an unfinished last line and a `note` of the node, and close the segment."""
        self.feed(b"\n" if self._partial else b"", now_ms)
        if self._event:
            self._append([self._event_frame()])
        if note:
            self._begins = None
            self.feed(note.encode("utf-8", "backslashreplace") + b"\n", now_ms)
        os.close(self._descriptor)

    def _append(self, frames: list[bytes]) -> None:
        if self._lost:
            lost = f"[batchyard] {self._lost} lines were lost here: {self._lost_why}"
            frames.insert(0, frame(self._last_ms, lost.encode()))
        view = memoryview(b"".join(frames))
        size = len(view)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            # A full disk must not stop the job nor leave half a frame, which would hide all that comes after it.
            os.ftruncate(self._descriptor, self._end)
            self._lost += len(frames) - (1 if self._lost else 0)
            self._lost_why = error.strerror or str(error)
            return
        self._end += size
        self._lost = 0


def cut(line: bytes) -> tuple[list[bytes], bytes]:
    """The full pieces of a line that is too long, and the rest of it; not within a character where it is UTF-8."""
    pieces: list[bytes] = []
    at = 0
    while len(line) - at > LINE_BYTES_MAX:
        end = at + LINE_BYTES_MAX
        for back in range(4):
            if line[end - back] & 0xC0 != 0x80:
                end -= back
                break
        pieces.append(line[at:end])
        at = end
    return pieces, line[at:]
