"""The server's side of the node: starts one where there is none, and stays connected to it whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from batchyard.compute.local import protocol
from batchyard.compute.local.protocol import Acknowledge, Announce, Frames, Hello, Refused, Saw, ShutDown, Up, Welcome
from batchyard.compute.local.sessions import messages
from batchyard.compute.local.sessions.messages import Begin
from batchyard.compute.local.sessions.remote import RemoteSession
from batchyard.compute.provider import Deliver
from batchyard.model.messages import Effect, ProviderBack, Report, ScratchSeen

_log = logging.getLogger(__name__)

_AFTER_S = 0.02  # first pause between two tries to connect; doubles
_AFTER_MOST_S = 2.0
_AFTER_STARTING_S = 0.05  # while one that we started gets ready
_SHUT_DOWN_S = 120.0  # beyond the grace that jobs are given: more than the node itself takes for its scratch space at most
_START_S = 10.0  # a node that was started and does not answer for so long is complained of
_SOCKET_PATH_MOST = 100  # bytes; AF_UNIX takes 107 on Linux and 103 on macOS
# What the node's own process gets of our environment: enough to find its modules. Never credentials.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


class LocalProvider:
    """This machine as a `Provider`. `facts` and `generation` are the node's, once it has answered; `trouble` says why it does not."""

    def __init__(self, data_dir: str | Path, *, name: str = "local", node_options: Sequence[str] = ()) -> None:
        self.name = name
        self.facts: dict[str, Any] = {}
        self.generation = ""
        self.node_pid = 0
        self.trouble = ""
        self._directory = Path(data_dir).absolute()
        self._options = tuple(node_options)
        self._deliver: Deliver = lambda reports: None
        self._epoch = 0
        self._child: _Child | None = None  # the node that we started last
        self._keeping: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._up = asyncio.Event()

    def spawn_ahead(self) -> None:
        """Start the node now if none is there, before `start`: it gets ready while the server does."""
        if not self.answers():
            self._start_node()

    async def start(self, deliver: Deliver, epoch: int) -> None:
        """Connect in the background and begin to deliver; `connected` waits for it. A second call takes over with a new epoch."""
        await self.close()
        self._deliver, self._epoch = deliver, epoch
        self._keeping = asyncio.create_task(self._keep_connected())

    async def connected(self) -> None:
        """Wait until the node has answered and its first report is delivered."""
        await self._up.wait()

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Send effects. Without a connection they are dropped: the engine asks again after the next ProviderBack."""
        if self._writer:
            for frame in protocol.encoded_effects(effects):
                self._writer.write(frame)

    def acknowledge(self, attempts: Sequence[str]) -> None:
        """The node may forget these. Without a connection it reports them again later."""
        if self._writer and attempts:
            self._writer.write(protocol.encoded(Acknowledge(list(attempts))))

    def announce(self) -> None:
        """Have the node say again all that it holds. Without a connection nothing is to be done: it will say so when it is back."""
        if self._writer:
            self._writer.write(protocol.encoded(Announce()))

    async def close(self) -> None:
        """Let go; the node and its jobs go on."""
        if self._keeping:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None

    async def shut_down(self, grace_s: float = 10.0) -> None:
        """Have the node end all its jobs and itself, whoever started it, and wait for that; TimeoutError if it does not.

        One that we have just started is waited for. Nothing happens where there is none, unless one that was killed has left its scratch
        space or addresses: then another one takes these away.
        """
        await self.close()
        try:
            reader, writer = await self._connect()
        except OSError:
            if left_behind(self._directory) and not self._is_starting:
                self._start_node()
            if not self._is_starting:
                return
            reader, writer = await self._answering()
        writer.write(protocol.encoded(ShutDown(grace_s)))
        try:
            async with asyncio.timeout(grace_s + _SHUT_DOWN_S):
                with contextlib.suppress(OSError):
                    while await reader.read(65536):
                        pass
                while self._child and self._child.alive():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise TimeoutError(f"the node of {self._directory} does not end: see {self._directory / protocol.LOG}") from None
        finally:
            writer.close()

    async def open_session(self, begin: Begin) -> RemoteSession:
        """Run a command beside an attempt that runs here. OSError if the node does not answer."""
        with _short(self._directory) as place:
            reader, writer = await asyncio.open_unix_connection(f"{place}/{messages.SOCKET}")
        return RemoteSession(reader, writer, begin)

    # --- keeping the connection ---

    async def _keep_connected(self) -> None:
        pause_s = _AFTER_S
        while True:
            try:
                reader, writer = await self._connect()
            except OSError as error:
                self._ensure_node(error)
            else:
                if await self._talk(reader, writer):
                    pause_s = _AFTER_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _AFTER_MOST_S)
            if self._child and self._child.alive() and time.monotonic() < self._child.started_s + _START_S:
                pause_s = min(pause_s, _AFTER_STARTING_S)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        with _short(self._directory) as place:
            return await asyncio.open_unix_connection(f"{place}/{protocol.SOCKET}")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Speak with the node until the connection ends; whether the node ever took us."""
        frames = Frames()
        welcome = False
        try:
            writer.write(protocol.encoded(Hello(protocol.VERSION, self._epoch)))
            while received := await reader.read(1024 * 1024):
                for body in frames.feed(received):
                    welcome = self._take(protocol.up(body), writer) or welcome
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self._complain(f"connection to the node: {error}")
        finally:
            self._writer = None
            self._up.clear()
            writer.close()
        return welcome

    def _take(self, message: Up, writer: asyncio.StreamWriter) -> bool:
        match message:
            case Welcome():
                self.facts, self.generation, self.node_pid, self.trouble = message.facts, message.generation, message.pid, ""
                self._writer = writer
                return True
            case Refused(code, reason):
                self._complain(f"the node refuses this server ({code}): {reason}")
            case Saw(reports):
                # The node does not know what we are called.
                self._deliver([self._signed(report) for report in reports])
                self._up.set()
        return False

    def _signed(self, report: Report) -> Report:
        return replace(report, provider=self.name) if isinstance(report, ProviderBack | ScratchSeen) else report

    # --- the node's process ---

    def answers(self) -> bool:
        """Whether a node is there and takes connections."""
        import socket

        with socket.socket(socket.AF_UNIX) as probe, _short(self._directory) as place:
            return probe.connect_ex(f"{place}/{protocol.SOCKET}") == 0

    def _ensure_node(self, why: OSError) -> None:
        """Nobody answers: start a node, unless one that we started lives. That has DIR's lock, so a second one could only slow it down."""
        if self._child:
            alive = self._child.alive()
            if alive and time.monotonic() < self._child.started_s + _START_S:
                return
            then = "waiting for it" if alive else "starting another"
            self._complain(f"the node of {self._directory} does not answer ({why}), {then}; its log ends with: {self._last_words()}")
            if alive:
                return
        self._start_node()

    @property
    def _is_starting(self) -> bool:
        """Whether a node that we have started is there, as long as it does not answer yet."""
        return self._child is not None and self._child.alive()

    async def _answering(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The node that was started now, or a moment ago. OSError if it does not answer, or ends before it does."""
        give_up_s = time.monotonic() + _SHUT_DOWN_S
        while True:
            try:
                return await self._connect()
            except OSError:
                if time.monotonic() > give_up_s or not self._is_starting:
                    raise
            await asyncio.sleep(_AFTER_S)

    def _last_words(self) -> str:
        try:
            return (self._directory / protocol.LOG).read_text(errors="replace").rstrip().rpartition("\n")[2][-300:]
        except OSError:
            return ""

    def _complain(self, trouble: str) -> None:
        """Say once what goes on being wrong."""
        if trouble != self.trouble:
            _log.warning("%s", trouble)
        self.trouble = trouble

    def _start_node(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._child = _Child(self._directory, self._options)


def left_behind(directory: Path) -> bool:
    """Whether a node that was killed has left what only another one takes away: volumes of scratch space, or addresses."""
    return (directory / "scratch" / "volumes.json").exists() or (directory / protocol.LINK_LOCAL).exists()


class _Child:
    """A node that we started: in a session of its own, so that neither our death nor our terminal touches it."""

    def __init__(self, directory: Path, options: Sequence[str]) -> None:
        log = str(directory / protocol.LOG)
        self.started_s = time.monotonic()
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "batchyard.compute.local.node", "--data", str(directory), *options],
            {name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._waiting = threading.Thread(target=_reap, args=(pid,), name="node-reaper", daemon=True)
        self._waiting.start()

    def alive(self) -> bool:
        return self._waiting.is_alive()


def _reap(pid: int) -> None:
    """Take in the node when it ends; a thread may wait for that, and then no zombie stays for as long as the server runs."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


@contextlib.contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A path to a directory that is short enough for the address of a unix socket."""
    if len(os.fsencode(directory)) + len(protocol.SOCKET) < _SOCKET_PATH_MOST:
        yield str(directory)
        return
    if not sys.platform.startswith("linux"):
        with tempfile.TemporaryDirectory() as made:
            (Path(made) / "y").symlink_to(directory)
            yield f"{made}/y"
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
