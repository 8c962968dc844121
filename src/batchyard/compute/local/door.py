"""The node's unix socket: one engine at a time gives commands, and the youngest lease wins."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from batchyard.compute.local import protocol
from batchyard.compute.local.loop import READ, WRITE, Loop, boot_s
from batchyard.compute.local.protocol import Down, Frames, Hello, Refused, Saw, ShutDown, Up, Welcome
from batchyard.model.messages import Report

REPORTS_PER_FRAME = 2000
_READ_BYTES = 1024 * 1024
_PAUSE_S = 0.1


class Connection:
    """One link. Bytes that the socket does not take at once wait here."""

    def __init__(self, peer: socket.socket, loop: Loop, received: Callable[[Connection, Down], None], closed: Callable[[Connection], None]):
        self._peer, self._loop, self._received, self._closed = peer, loop, received, closed
        self._frames = Frames()
        self._waiting = bytearray()
        self._hanging_up = False
        self._awaits_room = False
        self.open = True
        peer.setblocking(False)
        loop.watch(peer.fileno(), self._ready)

    def send(self, message: Up) -> None:
        """Send, or keep for when there is room. Nothing happens on a closed connection."""
        if self.open:
            self._waiting += protocol.encoded(message)
            self._push()

    def hang_up(self) -> None:
        """Close once all that waits is sent."""
        self._hanging_up = True
        self._push()

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._push()
        if self.open and events & ~WRITE:
            self._pull()

    def _pull(self) -> None:
        try:
            content = self._peer.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            self._close()
            return
        try:
            for body in self._frames.feed(content):
                if self.open and not self._hanging_up:
                    self._received(self, protocol.down(body))
        except (ValueError, msgspec.MsgspecError) as error:
            self.send(Refused("malformed", f"not understood: {error}"))
            self.hang_up()

    def _push(self) -> None:
        if not self.open:
            return
        try:
            while self._waiting:
                del self._waiting[: self._peer.send(self._waiting)]
        except BlockingIOError:
            self._await_room(True)
            return
        except OSError:
            self._close()
            return
        if self._hanging_up:
            self._close()
        else:
            self._await_room(False)

    def _await_room(self, waits: bool) -> None:
        if waits != self._awaits_room:
            self._awaits_room = waits
            self._loop.watch(self._peer.fileno(), self._ready, READ | WRITE if waits else READ)

    def _close(self) -> None:
        if self.open:
            self.open = False
            self._loop.forget(self._peer.fileno())
            self._peer.close()
            self._closed(self)


class Door:
    """Listens; lets in whoever speaks our version with an epoch at least as young as all before. A new link takes the place of the old."""

    def __init__(self, directory: Path, loop: Loop, epoch: int, facts: dict[str, Any], generation: str) -> None:
        self.epoch = epoch
        self.on_link: Callable[[int], None] = lambda epoch: None  # a link has been let in: its epoch
        self.on_message: Callable[[Down], None] = lambda message: None
        self.linked: Connection | None = None
        self._loop, self._facts, self._generation = loop, facts, generation
        self._guests: set[Connection] = set()
        self._listening = listening(directory, protocol.SOCKET)
        loop.watch(self._listening.fileno(), self._knock)

    def send(self, reports: list[Report]) -> None:
        """To the link, if there is one."""
        if self.linked:
            for at in range(0, len(reports), REPORTS_PER_FRAME):
                self.linked.send(Saw(reports[at : at + REPORTS_PER_FRAME]))

    def stop_listening(self) -> None:
        """Let nobody in any more; who is in may stay and see our end."""
        self._loop.forget(self._listening.fileno())
        self._listening.close()

    def close(self) -> None:
        """Send everybody away."""
        for guest in list(self._guests):
            guest.hang_up()

    def _knock(self, _: int) -> None:
        peer = let_in(self._listening, self._loop, self._knock)
        if peer is None:
            return
        if not same_user(peer):
            peer.close()
            return
        self._guests.add(Connection(peer, self._loop, self._received, self._left))

    def _received(self, sender: Connection, message: Down) -> None:
        if isinstance(message, Hello):
            self._greet(sender, message)
        elif sender is self.linked:
            self.on_message(message)
        elif isinstance(message, ShutDown):
            self.on_message(message)  # `batchyard down` works without a lease
        else:
            self._refuse(sender, "superseded", "another link has taken over")

    def _greet(self, sender: Connection, hello: Hello) -> None:
        if hello.version != protocol.VERSION:
            self._refuse(
                sender,
                "version",
                f"this node speaks version {protocol.VERSION}, the server {hello.version}: end the node and its jobs with "
                "`batchyard down`, or run the version of Batchyard that started it",
            )
        elif hello.epoch < self.epoch:
            self._refuse(sender, "epoch", f"epoch {hello.epoch} is older than {self.epoch}, which has spoken to this node")
        else:
            if self.linked and self.linked is not sender:
                self._refuse(self.linked, "superseded", "another link has taken over")
            self.epoch = hello.epoch
            self.linked = sender
            sender.send(Welcome(protocol.VERSION, self._generation, os.getpid(), self._facts))
            self.on_link(hello.epoch)

    def _refuse(self, sender: Connection, code: str, reason: str) -> None:
        if sender is self.linked:
            self.linked = None
        sender.send(Refused(code, reason))
        sender.hang_up()

    def _left(self, sender: Connection) -> None:
        self._guests.discard(sender)
        if sender is self.linked:
            self.linked = None


def listening(directory: Path, name: str) -> socket.socket:
    """A socket for its owner only. Bound from within its directory, whose path may be longer than a socket's may be."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    (directory / name).unlink(missing_ok=True)
    os.chdir(directory)
    mask = os.umask(0o177)
    try:
        listening.bind(name)
    finally:
        os.umask(mask)
        os.chdir("/")
    listening.listen(16)
    listening.setblocking(False)
    return listening


def let_in(listening: socket.socket, loop: Loop, knock: Callable[[int], None]) -> socket.socket | None:
    """Who knocks; None if nobody can be let in. Without a descriptor left we look again a little later: at once would only burn time."""
    try:
        return listening.accept()[0]
    except BlockingIOError:
        return None
    except OSError:
        descriptor = listening.fileno()
        loop.forget(descriptor)
        loop.at(boot_s() + _PAUSE_S, lambda: loop.watch(descriptor, knock) if listening.fileno() == descriptor else None)
        return None


def same_user(peer: socket.socket) -> bool:
    """Whether the one who knocks is our own user or root, where the kernel can say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) in (0, os.geteuid())
