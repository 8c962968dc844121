"""A network namespace of a test's own: addresses and ports in it are nobody else's, and the machine's network stays untouched.

The calling thread steps in, and with it whatever it starts; it steps out at the end. Other threads stay where they are.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_NETWORK = 0x40000000
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_TRY = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x40000000) != 0)"


def why_not() -> str:
    """Why there can be none here; "" if there can. Tried in a process of its own."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a network namespace needs Linux and root"
    tried = subprocess.run([sys.executable, "-c", _TRY], check=False, timeout=60)
    return "this machine allows no network namespaces" if tried.returncode else ""


@contextmanager
def own_network() -> Iterator[None]:
    """Be in a new one that has nothing but a loopback interface."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        _checked(libc.unshare(_NEW_NETWORK))
        try:
            with socket.socket() as any_socket:
                flags = struct.unpack("16sh", fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack("16sh", b"lo", 0)))[1]
                fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP))
            yield
        finally:
            _checked(libc.setns(before.fileno(), _NEW_NETWORK))


def _checked(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
