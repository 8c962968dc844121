"""What a server and a node say to each other about one session: length-prefixed msgpack, one connection for each session."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from batchyard.compute.local.protocol import framed

SOCKET = "sessions.sock"
VERSION = 1
STDOUT, STDERR = 1, 2


class Begin(Struct, frozen=True, tag=True):
    """Run `command` beside the container `container` ("" of an attempt that has only one) of an attempt, with a terminal or with pipes."""

    version: int
    attempt: str
    container: str
    command: tuple[str, ...]
    has_terminal: bool = False
    rows: int = 24
    columns: int = 80
    term: str = "xterm"


class Input(Struct, frozen=True, tag=True):
    """For its stdin; nothing ends it."""

    content: bytes


class Resize(Struct, frozen=True, tag=True):
    """Its terminal has this size now."""

    rows: int
    columns: int


class Output(Struct, frozen=True, tag=True):
    """What it wrote; with a terminal all is STDOUT."""

    stream: int
    content: bytes


class Over(Struct, frozen=True, tag=True):
    """It has ended, by the shell's view of an exit code (128 + signal). None: it did not come to run, and `reason` says why."""

    exit_code: int | None
    reason: str = ""


Down = Begin | Input | Resize
Up = Output | Over

_encoder = msgspec.msgpack.Encoder()
_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down)
_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up)


def encoded(message: Down | Up) -> bytes:
    """One frame."""
    return framed(_encoder.encode(message))


def down(body: bytes) -> Down:
    """A message to the node. msgspec.MsgspecError (a ValueError) if it is not one."""
    return _down.decode(body)


def up(body: bytes) -> Up:
    """A message from the node. msgspec.MsgspecError (a ValueError) if it is not one."""
    return _up.decode(body)
