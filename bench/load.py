"""Sends prepared requests over keep-alive connections as fast as they are answered, and checks every answer.

One process and one epoll: about 25 µs of CPU per request, so that on two cores the server is what is measured. Nothing is signed,
encoded or decoded while the clock runs; bodies are looked into afterwards.
"""

from __future__ import annotations

import gc
import re
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE_S = 60.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_KEEPS = re.compile(rb"\r\nconnection: *keep-alive", re.IGNORECASE)


class WrongAnswer(Exception):
    """A server answered something other than 200, or broke off: the figure would mean nothing."""


@dataclass(slots=True)
class Driven:
    """What came of a run: wall time, this process's own CPU time in it, bodies, and per request the time to its answer."""

    seconds: float
    client_cpu_s: float
    bodies: list[bytes]
    latencies_s: list[float]

    @property
    def per_second(self) -> float:
        return len(self.bodies) / self.seconds


class _Connection:
    """One request at a time, as an SDK's connection has it."""

    __slots__ = ("address", "received", "sent_at", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.received = b""
        self.sent_at = 0.0
        self.socket = self._connected()

    def _connected(self) -> socket.socket:
        made = socket.create_connection(self.address, timeout=PATIENCE_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def take(self) -> tuple[bytes, bool] | None:
        """(body, whether the server closes now) once the answer is whole."""
        chunk = self.socket.recv(262144)
        self.received = received = self.received + chunk if self.received else chunk
        if not chunk:
            raise WrongAnswer(f"the connection was closed before the answer: {received[:300]!r}")
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head = received[:head_end]
        if head[9:12] != b"200":
            raise WrongAnswer(received[:600].decode("latin-1"))
        length = _LENGTH.search(head)
        if length is None:
            raise WrongAnswer(f"no content-length: {head!r}")
        if len(received) < head_end + 4 + int(length[1]):
            return None
        self.received = b""
        closes = not _KEEPS.search(head) if head.startswith(b"HTTP/1.0") else bool(_CLOSES.search(head))
        return received[head_end + 4 :], closes

    def reconnect(self) -> None:
        self.socket.close()
        self.socket = self._connected()


def drive(address: tuple[str, int], requests: Sequence[bytes], connections: int) -> Driven:
    """Send all `requests` over so many connections, each with one request under way. Raises WrongAnswer."""
    pool = [_Connection(address) for _ in range(min(connections, len(requests)))]
    bodies: list[bytes] = []
    latencies: list[float] = []
    waiting = iter(requests)
    gc.collect()
    gc.disable()
    try:
        with selectors.DefaultSelector() as selector:
            started, cpu = time.perf_counter(), time.process_time()
            for connection in pool:
                connection.send(next(waiting))
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            _pump(selector, waiting, len(requests), bodies, latencies)
            seconds, client_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    finally:
        gc.enable()
        for connection in pool:
            connection.socket.close()
    return Driven(seconds, client_cpu_s, bodies, latencies)


def _pump(selector: selectors.BaseSelector, waiting, expected: int, bodies: list[bytes], latencies: list[float]) -> None:
    while len(bodies) < expected:
        ready = selector.select(PATIENCE_S)
        if not ready:
            raise WrongAnswer(f"no answer within {PATIENCE_S:.0f} s after {len(bodies)} of {expected}")
        for key, _ in ready:
            connection: _Connection = key.data
            taken = connection.take()
            if taken is None:
                continue
            body, closes = taken
            bodies.append(body)
            latencies.append(time.perf_counter() - connection.sent_at)
            if closes:
                selector.unregister(connection.socket)
                connection.reconnect()
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            request = next(waiting, None)
            if request is None:
                selector.unregister(connection.socket)
            else:
                connection.send(request)


def paced(address: tuple[str, int], requests: Sequence[bytes], per_second: float) -> Driven:
    """Send one request after another at fixed times; a late answer delays none of the times from which the next are counted."""
    connection = _Connection(address)
    bodies: list[bytes] = []
    latencies: list[float] = []
    started, cpu = time.perf_counter(), time.process_time()
    for number, request in enumerate(requests):
        due = started + number / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.send(request)
        while (taken := connection.take()) is None:
            pass
        bodies.append(taken[0])
        latencies.append(time.perf_counter() - due)
        if taken[1]:
            connection.reconnect()
    connection.socket.close()
    return Driven(time.perf_counter() - started, time.process_time() - cpu, bodies, latencies)
