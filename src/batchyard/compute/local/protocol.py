"""The language between the server's link and the node: length-prefixed msgpack messages over a unix socket.

The link speaks first: `Hello` with its version and the epoch of the engine's lease. The node answers `Welcome`, followed by a `Saw`
whose first report is ProviderBack, or `Refused` and hangs up. From then on effects and acknowledgements go down and reports come
up. A node outlives the server, so both sides name the version of this language; it rises with every change that the other side
would not understand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from batchyard.model.messages import Effect, Report

VERSION = 3  # 2: a Launch may hold several containers; 3: the node tells of its scratch space, a Launch of its log driver
FRAME_BYTES_MAX = 256 * 1024 * 1024
EFFECTS_PER_FRAME = 500

SOCKET = "node.sock"
LOCK = "node.lock"
LINK_LOCAL = "link-local"  # there while the addresses that programs have built in are the node's (see `doors/link_local`)
LOG = "node.log"

_LENGTH = struct.Struct(">I")


class Hello(Struct, frozen=True, tag=True):
    """The link's first word."""

    version: int
    epoch: int


class Do(Struct, frozen=True, tag=True):
    """Carry these out, in this order."""

    effects: list[Effect]


class Acknowledge(Struct, frozen=True, tag=True):
    """The end of these attempts is recorded by the engine."""

    attempts: list[str]


class Announce(Struct, frozen=True, tag=True):
    """Say again all that is held, as after a connection."""


class ShutDown(Struct, frozen=True, tag=True):
    """End all jobs (SIGTERM, then SIGKILL after `grace_s`) and exit."""

    grace_s: float


class Welcome(Struct, frozen=True, tag=True):
    """The node takes the link's commands. `facts` is what `host.facts` says, seen from the node."""

    version: int
    generation: str
    pid: int
    facts: dict[str, Any]


class Refused(Struct, frozen=True, tag=True):
    """The node does not take this link's commands; `code` is "version", "epoch", "superseded" or "malformed"."""

    code: str
    reason: str


class Saw(Struct, frozen=True, tag=True):
    """What the node saw, oldest first."""

    reports: list[Report]


Down = Hello | Do | Acknowledge | Announce | ShutDown
Up = Welcome | Refused | Saw

_encoder = msgspec.msgpack.Encoder()
_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down)
_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up)


def encoded(message: Down | Up) -> bytes:
    """One frame with a message."""
    return framed(_encoder.encode(message))


def framed(body: bytes) -> bytes:
    """One frame: the length in 4 bytes, big endian, then the body."""
    return _LENGTH.pack(len(body)) + body


def encoded_effects(effects: Iterable[Effect]) -> Iterator[bytes]:
    """Frames for any number of effects, none of them large."""
    waiting: list[Effect] = []
    for effect in effects:
        waiting.append(effect)
        if len(waiting) == EFFECTS_PER_FRAME:
            yield encoded(Do(waiting))
            waiting = []
    if waiting:
        yield encoded(Do(waiting))


class Frames:
    """Cuts a byte stream into the bodies of frames."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, received: bytes) -> list[bytes]:
        """The bodies that are whole now. ValueError if what arrives cannot be a frame."""
        self._waiting += received
        bodies: list[bytes] = []
        at = 0
        while len(self._waiting) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._waiting, at)
            if length > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes: the other side does not speak this protocol")
            end = at + _LENGTH.size + length
            if len(self._waiting) < end:
                break
            bodies.append(bytes(self._waiting[at + _LENGTH.size : end]))
            at = end
        del self._waiting[:at]
        return bodies


def down(body: bytes) -> Down:
    """A message from the link. msgspec.MsgspecError (a ValueError) if it is not one."""
    return _down.decode(body)


def up(body: bytes) -> Up:
    """A message from the node. msgspec.MsgspecError (a ValueError) if it is not one."""
    return _up.decode(body)
