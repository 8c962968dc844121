"""What an attempt writes: cut into lines, stamped as it is read, appended to the segment of its log stream.

A job may write without end. Its log takes `most_bytes` of the disk: then come its last lines and a sentence about what was left out. It
is read no faster than leaves time for others (`Attention`): meanwhile its pipe is full, and it waits, as with the awslogs driver.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from batchyard.compute.local.patterns import Pattern, TookTooLong
from batchyard.model.messages import Launch
from batchyard.store.logs import LINE_BYTES_MAX, frame, open_segment

EVENT_S = 5.0  # how long the lines of one event may keep coming, as with the awslogs driver
SEARCHED_BYTES = 128  # of a line, for the pattern by which an event begins: the node has other things to do than to search
_TOO_HARD = b"[batchyard] searching for the pattern by which events begin takes too long: from here on each line is an event"

MIB = 1024 * 1024
TAIL_BYTES = 65536  # what is kept of the end of a log that has become too long
_RESTS = 2  # as many times as long as reading took


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


def sink_of(logs: Path, launch: Launch, name: str, now_ms: int, most_bytes: int = 0) -> Sink:
    """What the log driver of a container asks for. `logs` is the folder of log streams, `name` the container's within its task. OSError."""
    match launch.log_driver:
        case "":
            stream = launch.account, launch.region, launch.log_group, launch.log_stream
            return Output(logs, *stream, now_ms, launch.log_begins, most_bytes)
        case "json-file":
            from batchyard.store.json_logs import FOLDER, JsonLog, bounded, limits_of

            limits = bounded(limits_of(launch.log_options), most_bytes)
            return JsonLog(logs.parent / FOLDER, launch.attempt, name, limits, now_ms)
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


class Attention:
    """How the node's time is shared by those who write faster than it reads: half of it at most goes to all of them together."""

    def __init__(self) -> None:
        self._resting = 0

    def begin_rest(self, took_s: float) -> float:
        """How long one is not read now whose last piece took so long. `end_rest` must follow."""
        self._resting += 1
        return took_s * _RESTS * self._resting

    def end_rest(self) -> None:
        """It is read again."""
        self._resting -= 1


class Output:
    """The one writer of a stream. Blank lines are left out and long ones cut, as the awslogs driver does; stamps never run backwards.

    With `begins`, a pattern, the lines from one in which it is found up to the next such one are one event
    (awslogs-multiline-pattern).
    """

    def __init__(
        self, root: Path, account: str, region: str, group: str, stream: str, now_ms: int, begins: str = "", most_bytes: int = 0
    ) -> None:
        """`most_bytes`: about as much is written, frames included; 0: everything."""
        self._begins = Pattern(begins) if begins else None
        self._event: list[bytes] = []  # lines of an event that may go on
        self._event_bytes = 0
        self._event_ms = now_ms
        self._descriptor = open_segment(root, account, region, group, stream, now_ms)
        self._end = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._full_at = self._end + most_bytes if most_bytes else None
        self._most_mib = most_bytes // MIB
        self._tail = b""  # the last that was read, once the log is full
        self._left_out = 0  # bytes that were read since then
        self._partial = b""
        self._last_ms = now_ms
        self._lost = 0
        self._lost_why = ""

    def feed(self, read: bytes, now_ms: int) -> None:
        """Append what is whole of it; the start of a line waits for the rest."""
        if self._full_at is not None and self._end >= self._full_at:
            self._pass_over(read, now_ms)
            return
        if self._begins:
            self._begins.begin_piece()
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

    def _pass_over(self, read: bytes, now_ms: int) -> None:
        """The log is full: of what still comes, only the last is kept, in case that it is the last."""
        if self._partial:
            read, self._partial = self._partial + read, b""
        self._left_out += len(read)
        self._tail = (self._tail + read)[-TAIL_BYTES:] if len(read) < TAIL_BYTES else read[-TAIL_BYTES:]
        self._last_ms = max(self._last_ms, now_ms)

    def _write_tail(self) -> None:
        """Say what was left out, and append the last lines."""
        self._full_at = None
        tail = self._tail
        if self._left_out > len(tail):
            _, _, tail = tail.partition(b"\n")  # the line that it begins with is not whole
            told = (
                f"[batchyard] {self._left_out - len(tail)} bytes were left out here: a log may have {self._most_mib} MiB (--log-limit-mib)"
            )
            begins, self._begins = self._begins, None
            self.feed(told.encode() + b"\n", self._last_ms)
            self._begins = begins
        self._tail, self._left_out = b"", 0
        self.feed(tail, self._last_ms)

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
        try:
            if self._event and (self._event_bytes + len(line) > LINE_BYTES_MAX or self._begins.is_in(line[:SEARCHED_BYTES])):
                frames.append(self._event_frame())
        except TookTooLong:
            self._begins = None
            frames += [self._event_frame(), frame(now_ms, _TOO_HARD)]
            self._take(line, now_ms, frames)
            return
        if line or self._event:
            self._event_ms = self._event_ms if self._event else now_ms
            self._event.append(line)
            self._event_bytes += len(line) + 1

    def _event_frame(self) -> bytes:
        lines, self._event, self._event_bytes = self._event, [], 0
        return frame(self._event_ms, b"\n".join(lines).rstrip(b"\n"))

    def finish(self, now_ms: int, note: str = "") -> None:
        """Append an unfinished last line and a `note` of the node, and close the segment."""
        if self._left_out:
            if self._event:
                self._append([self._event_frame()])
            self._write_tail()
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
