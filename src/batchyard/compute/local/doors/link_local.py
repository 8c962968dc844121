"""The addresses that programs have built in, 169.254.170.2 (ECS) and 169.254.169.254 (EC2), taken for a node on this machine.

Opt-in: an address on the loopback interface is there for all of the machine, and on a cloud's machine it would hide the cloud's own
service (docs/decisions/0042-the-addresses-that-are-built-in.md). What is ours is known by the label of the address and a lock that the
kernel takes back when its node dies: what is labelled while nobody has the lock was left by one that was killed. A node that takes
addresses notes it in its folder first, so that the next one takes them away also if it is to do without.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import time
from pathlib import Path

from batchyard.compute.local import knobs
from batchyard.compute.local.doors import netlink
from batchyard.compute.local.doors.listener import CONNECTIONS_MOST, HOST, INSTANCES, TASKS
from batchyard.compute.local.protocol import LINK_LOCAL as NOTE
from batchyard.compute.local.slots import claim

ADDRESSES = (TASKS, INSTANCES)
PORT = 80
LABEL = "lo:batchyard"
OPTION = "--link-local on"
GROUPS = "who asks is known by its cgroup, and {why}"
_NEEDED = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19}
_FREEBIND = 15  # IP_FREEBIND of ip(7): to listen before the address is there
_ENDING_S, _AGAIN_S = 2.0, 0.05
_PROBE_S = 1.0  # how long it is waited whether somebody answers at an address already: a cloud's own service takes milliseconds


class CannotTake(Exception):
    """The addresses cannot be had; the message says why and what can be done."""


class LinkLocal:
    """The addresses, ours from `take` to `give_back`. `listening` has a socket on each, in the order of ADDRESSES."""

    def __init__(self, directory: Path, listening: list[socket.socket], lock: int) -> None:
        self.listening = listening
        self._directory, self._lock = directory, lock

    def give_back(self) -> None:
        """The machine is as it was. The sockets are closed by whoever listens to them."""
        for address in ADDRESSES:
            _remove(address)
        (self._directory / NOTE).unlink(missing_ok=True)
        os.close(self._lock)


def why_not() -> str:
    """Why the addresses cannot be had, as a sentence; "" if nothing speaks against it now. Changes nothing."""
    try:
        lock, listening = _prepared()
    except CannotTake as why:
        return str(why)
    for each in listening:
        each.close()
    os.close(lock)
    return ""


def take(directory: Path) -> LinkLocal:
    """Take both addresses, or none. CannotTake if that fails. `directory`: the node's folder."""
    lock, listening = _prepared()
    note = directory / NOTE
    try:
        note.write_text(f"{LABEL}\n")
        for address in ADDRESSES:
            with contextlib.suppress(FileExistsError):  # left by a node that was killed, or somebody else's of this moment
                netlink.add_address(address, LABEL)
        _check_that_nobody_else_has_them()
    except (OSError, CannotTake) as error:
        for each in listening:
            each.close()
        LinkLocal(directory, [], lock).give_back()
        if isinstance(error, CannotTake):
            raise
        raise CannotTake(sentence(f"the loopback interface does not take the addresses ({error.strerror})")) from error
    return LinkLocal(directory, listening, lock)


def clear(directory: Path) -> None:
    """Take away what a node of this folder left when it was killed, for one that is to do without the addresses."""
    if not (directory / NOTE).exists():
        return
    lock = _claimed()
    if lock is not None:  # else another node has found them and taken them over
        LinkLocal(directory, [], lock).give_back()
    (directory / NOTE).unlink(missing_ok=True)


def _prepared() -> tuple[int, list[socket.socket]]:
    """The lock, and sockets that listen on both addresses, which may not be there yet: nothing of the machine has changed."""
    try:
        missing = _missing()
        lock = None if missing else _claimed()
    except OSError as error:  # no loopback interface, no /run that can be written to
        raise CannotTake(sentence(f"this machine does not let us try ({error.strerror or error})")) from error
    if lock is None:
        raise CannotTake(sentence(missing or "another Batchyard on this machine has the addresses"))
    listening: list[socket.socket] = []
    try:
        there = _check_that_nobody_else_has_them()
        _check_that_nobody_answers([address for address in ADDRESSES if address not in there])
        listening.extend(map(_listening, ADDRESSES))  # those before one that fails stay in the list
    except CannotTake:
        for each in listening:
            each.close()
        os.close(lock)
        raise
    return lock, listening


def _missing() -> str:
    """What of this process or this system is not enough."""
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root, to add the addresses to the loopback interface and to see who asks"
    status = knobs.read(Path("/proc/self/status"))
    held = int(next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0"), 16)
    lacking = [name for name, bit in _NEEDED.items() if not held >> bit & 1]
    if lacking:
        return f"root has to have {' and '.join(lacking)} here"
    return "" if _kernel_tells() else "this kernel does not say whose a connection is (CONFIG_INET_DIAG)"


def _kernel_tells() -> bool:
    """Whether the kernel says who made a connection, tried with one of our own."""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname(), timeout=_PROBE_S) as own:
        try:
            found = netlink.held(own.getsockname(), server.getsockname())
        except OSError:
            return False
        return found is not None and found.inode == os.fstat(own.fileno()).st_ino


def _claimed() -> int | None:
    """The lock on the addresses of this network namespace, to keep open; None if another node has it and is not just ending."""
    name = f"link-local-{os.stat('/proc/self/ns/net').st_ino}"  # noqa: PTH116 - no path but the kernel's own
    until_s = time.monotonic() + _ENDING_S
    while (lock := claim(name)) is None and time.monotonic() < until_s:
        time.sleep(_AGAIN_S)
    return lock


def _check_that_nobody_else_has_them() -> set[str]:
    """Which of the addresses this machine has, by our doing. CannotTake if it has one by anybody else's."""
    there = [each for each in netlink.addresses() if each.address in ADDRESSES]
    for each in there:
        if each.label != LABEL:
            raise CannotTake(sentence(f"this machine has the address {each.address} already ({each.label})"))
    return {each.address for each in there}


def _check_that_nobody_answers(addresses: list[str]) -> None:
    """CannotTake if somebody beyond this machine, or by its packet filter, has one of them."""
    answered = _answered(addresses)
    if answered:
        whose = "a cloud's own metadata service" if answered == INSTANCES else "an ECS agent"
        raise CannotTake(sentence(f"somebody answers at {answered} already ({whose}, most likely), who would be hidden"))


def _answered(addresses: list[str]) -> str:
    """The first address at which somebody takes connections; "" if nobody does."""
    trying: dict[int, tuple[str, socket.socket]] = {}
    poller = select.poll()
    with contextlib.ExitStack() as opened:
        for address in addresses:
            each = opened.enter_context(socket.socket())
            each.setblocking(False)
            if each.connect_ex((address, PORT)) in (0, errno.EINPROGRESS):
                trying[each.fileno()] = address, each
                poller.register(each, select.POLLOUT)
        until_s = time.monotonic() + _PROBE_S
        while trying and (left_s := until_s - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(left_s * 1000):
                address, each = trying.pop(descriptor)
                if not each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return address
                poller.unregister(descriptor)
    return ""


def _listening(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # our own connections of a moment ago do not count
        made.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
        made.bind((address, PORT))
        made.listen(CONNECTIONS_MOST)
    except OSError as error:
        made.close()
        why = "a server has port 80 on all addresses" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotTake(sentence(f"port {PORT} of {address} cannot be had: {why}")) from error
    return made


def _remove(address: str) -> None:
    with contextlib.suppress(OSError):  # it is not there, or not ours
        netlink.remove_address(address, LABEL)


def sentence(why: str) -> str:
    """What a refusal says."""
    return f"{OPTION} is not possible: {why}. Without it, jobs find the same by the variables in their environment"
