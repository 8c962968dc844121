"""Commands inside of jobs that run, for `batchyard exec`: begun, fed and read by requests, so that any proxy lets them through.

The client reads again and again, each time until something comes. Who does not read for a while has gone, and its command ends.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from typing import Any, Protocol

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.operator_rights import root_only

LONGEST_WAIT_S = 20.0
GONE_S = 60.0  # a client that has not read for so long
MOST = 100
_MOST_CONTENT = 1024 * 1024


class Session(Protocol):
    """See `compute.local.sessions.remote.RemoteSession`."""

    async def read(self, within_s: float) -> tuple[list[Any], Any]: ...
    async def write(self, content: bytes) -> None: ...
    async def resize(self, rows: int, columns: int) -> None: ...
    def close(self) -> None: ...


class OpenSessions:
    """The sessions of this server, by a name that nobody can guess."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}
        self._read_s: dict[str, float] = {}
        self._sweeping: asyncio.Task[None] | None = None

    def add(self, session: Session) -> str:
        name = secrets.token_urlsafe(24)
        self._open[name] = session
        self.note_read(name)
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep())
        return name

    def note_read(self, name: str) -> None:
        self._read_s[name] = time.monotonic()

    def get(self, name: str) -> Session:
        if name not in self._open:
            raise Fault("ClientException", "There is no such session: it has ended, or its client did not read for a minute.")
        return self._open[name]

    def end(self, name: str) -> None:
        session = self._open.pop(name, None)
        self._read_s.pop(name, None)
        if session:
            session.close()

    @property
    def is_full(self) -> bool:
        return len(self._open) >= MOST

    def close(self) -> None:
        if self._sweeping:
            self._sweeping.cancel()
        for name in list(self._open):
            self.end(name)

    async def _sweep(self) -> None:
        while self._open:
            await asyncio.sleep(GONE_S / 4)
            for name, read_s in list(self._read_s.items()):
                if time.monotonic() - read_s > GONE_S:
                    self.end(name)


async def exec_begin(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Run `command` in the container `container` (or the only one) of a job that runs: the session's name."""
    root_only(caller)
    job_id, command, container = params.get("jobId"), params.get("command"), params.get("container", "")
    if not isinstance(job_id, str) or not job_id:
        raise Fault("ClientException", "jobId is required and must be a string.")
    if not isinstance(command, list) or not command or not all(isinstance(word, str) and "\0" not in word for word in command):
        raise Fault("ClientException", "command is required and must be a list of strings.")
    if not isinstance(container, str):
        raise Fault("ClientException", "container must be a string.")
    found = desk.read.job(job_id)
    if found is None:
        raise Fault("ClientException", f"Job {job_id} does not exist.")
    job, _ = found
    if job.is_array:
        raise Fault("ClientException", f"Job {job_id} is an array: name one of its children, as {job_id}:0.")
    if job.current is None or job.status.value != "RUNNING":
        raise Fault("ClientException", f"Job {job_id} is {job.status.value}: a command can only run beside a job that is RUNNING.")
    if desk.sessions.is_full:
        raise Fault("ClientException", f"There are {MOST} sessions already: end some first.")
    size = (_size(params, "rows", 24), _size(params, "columns", 80))
    try:
        session = await desk.open_session(
            job.current.id, container, tuple(command), params.get("terminal") is True, size, str(params.get("term") or "xterm")
        )
    except OSError as error:
        raise Fault("ClientException", f"The node of job {job_id} does not answer: {error}.") from error
    return {"session": desk.sessions.add(session)}


async def exec_read(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """What the command wrote: `output`, pairs of stream (1 or 2) and content; once it is over `exitCode`, or `reason` if it did not run."""
    root_only(caller)
    name = str(params.get("session"))
    wait_s = params.get("waitSeconds", LONGEST_WAIT_S)
    if not isinstance(wait_s, int | float) or isinstance(wait_s, bool) or not 0 <= wait_s <= LONGEST_WAIT_S:
        raise Fault("ClientException", f"waitSeconds must be a number from 0 to {LONGEST_WAIT_S:g}.")
    desk.sessions.note_read(name)
    outputs, over = await desk.sessions.get(name).read(wait_s)
    desk.sessions.note_read(name)
    answer: dict[str, Any] = {"output": [[each.stream, base64.b64encode(each.content).decode()] for each in outputs]}
    if over is not None:
        desk.sessions.end(name)
        answer.update({"reason": over.reason} if over.exit_code is None else {"exitCode": over.exit_code})
    return answer


async def exec_write(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Feed the command: `content` for its stdin, `end` of it, a new size of its terminal (`rows`, `columns`), or `close` the session."""
    root_only(caller)
    name = str(params.get("session"))
    session = desk.sessions.get(name)
    if params.get("close") is True:
        desk.sessions.end(name)
        return {}
    if "rows" in params or "columns" in params:
        await session.resize(_size(params, "rows", 24), _size(params, "columns", 80))
    try:
        content = base64.b64decode(params.get("content") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Fault("ClientException", "content must be base64.") from None
    if len(content) > _MOST_CONTENT:
        raise Fault("ClientException", f"content must be at most {_MOST_CONTENT} bytes.")
    if content:
        await session.write(content)
    if params.get("end") is True:
        await session.write(b"")
    return {}


def _size(params: dict[str, Any], name: str, default: int) -> int:
    value = params.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000:
        raise Fault("ClientException", f"{name} must be a number from 1 to 10000.")
    return value
