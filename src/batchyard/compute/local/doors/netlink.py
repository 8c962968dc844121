"""What the kernel tells and is told by netlink: which addresses this machine has, and whose a local TCP connection is.

See rtnetlink(7) and sock_diag(7). Linux only.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

_ROUTE, _SOCKETS = 0, 4  # NETLINK_ROUTE, NETLINK_SOCK_DIAG
_REQUEST, _ACKNOWLEDGE, _EXCLUSIVE, _CREATE, _DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
_ERROR, _DONE = 2, 3
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESSES = 20, 21, 22
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_ADDRESS, _LOCAL, _LABEL = 1, 2, 3  # IFA_...
_HOST_SCOPE = 254  # of what is meant on this machine only
_WHOLE = 32  # bits of a network that has one address
_GROUP = 21  # INET_DIAG_CGROUP_ID, since Linux 5.8
_LISTENING = 10
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_WAIT_S = 5.0  # the kernel answers at once
_MESSAGE = struct.Struct("=IHHII")
_ABOUT_ADDRESS = struct.Struct("=BBBBi")
_ATTRIBUTE = struct.Struct("=HH")
_QUESTION = struct.Struct("=BBBBI")
_FOUND = struct.Struct("=BBBB48s5I")  # struct inet_diag_msg

Place = tuple[str, int]  # an address and a port


class Address(NamedTuple):
    """An address of this machine, and what it is labelled with (usually the name of its interface)."""

    address: str
    label: str


class Held(NamedTuple):
    """A socket: its inode, who made it, and the cgroup of version 2 that its maker was in (0 where the kernel does not say)."""

    inode: int
    uid: int
    group: int


def addresses() -> list[Address]:
    """All addresses of version 4 that this machine has."""
    question = _ABOUT_ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
    found: list[Address] = []
    for kind, body in _asked(_ROUTE, _GET_ADDRESSES, _DUMP, question):
        if kind == _NEW_ADDRESS:
            told = dict(_attributes(body[_ABOUT_ADDRESS.size :]))
            label = told.get(_LABEL, b"").rstrip(b"\0").decode(errors="replace")
            found.append(Address(socket.inet_ntoa(told.get(_LOCAL) or told[_ADDRESS]), label))
    return found


def add_address(address: str, label: str) -> None:
    """Give the loopback interface an address, for this machine alone. FileExistsError if it has it, PermissionError without the right."""
    list(_asked(_ROUTE, _NEW_ADDRESS, _ACKNOWLEDGE | _CREATE | _EXCLUSIVE, _of_loopback(address, label)))


def remove_address(address: str, label: str) -> None:
    """Take it away, if it has this label. OSError (EADDRNOTAVAIL) if there is none such."""
    list(_asked(_ROUTE, _DELETE_ADDRESS, _ACKNOWLEDGE, _of_loopback(address, label)))


def held(source: Place, target: Place) -> Held | None:
    """Whose end of a TCP connection of this network namespace it is that lies at `source`; None if nobody here holds it (any more)."""
    ends = struct.pack("=2s2s", source[1].to_bytes(2), target[1].to_bytes(2)) + b"".join(
        socket.inet_aton(place[0]).ljust(16, b"\0") for place in (source, target)
    )
    which = ends + bytes(4) + _NO_COOKIE
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY_STATE) + which
    try:
        answers = list(_asked(_SOCKETS, _BY_FAMILY, 0, question))
    except FileNotFoundError:
        return None
    for kind, body in answers:
        if kind == _BY_FAMILY:
            _, state, _, _, seen, _, _, _, uid, inode = _FOUND.unpack_from(body)
            # Where there is no connection the kernel offers who listens there. One of IPv6 has its addresses written otherwise.
            if state != _LISTENING and inode and seen[:4] == ends[:4]:
                group = dict(_attributes(body[_FOUND.size :])).get(_GROUP, b"")
                return Held(inode, uid, int.from_bytes(group, sys.byteorder))
    return None


def _of_loopback(address: str, label: str) -> bytes:
    packed = socket.inet_aton(address)
    interface = socket.if_nametoindex("lo")
    about = _ABOUT_ADDRESS.pack(socket.AF_INET, _WHOLE, 0, _HOST_SCOPE, interface)
    return about + _attribute(_LOCAL, packed) + _attribute(_ADDRESS, packed) + _attribute(_LABEL, label.encode() + b"\0")


def _attribute(kind: int, content: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), kind) + content + bytes(-len(content) % 4)


def _attributes(text: bytes) -> Iterator[tuple[int, bytes]]:
    while len(text) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(text)
        if length < _ATTRIBUTE.size:
            return
        yield kind, text[_ATTRIBUTE.size : length]
        text = text[(length + 3) & ~3 :]


def _asked(family: int, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of the answer. OSError as the kernel says it."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as link:
        link.settimeout(_WAIT_S)
        link.bind((0, 0))
        link.sendto(_MESSAGE.pack(_MESSAGE.size + len(body), kind, _REQUEST | flags, 1, 0) + body, (0, 0))
        while True:
            received = link.recv(65536)
            if not received:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            while len(received) >= _MESSAGE.size:
                length, told, _, _, _ = _MESSAGE.unpack_from(received)
                content, received = received[_MESSAGE.size : length], received[(length + 3) & ~3 :]
                if told == _ERROR:
                    number = -struct.unpack_from("=i", content)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                if told == _DONE:
                    return
                yield told, content
                if not flags:  # one question, one answer
                    return
