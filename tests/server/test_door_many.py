"""Thousands of connections, and many that say half of what they want: the others are served all the while."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest
from door_toys import ROOT, Door, running_door
from test_door_hostile import head, signed, status_of, still_serves, talk

from batchyard.server import exchange, listener
from batchyard.wire import sigv4

MANY = 2000
HALF = 300


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener.most_connections.cache_clear()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    listener.most_connections.cache_clear()


def connect(door: Door) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=60)


def answers(connections: list[socket.socket], patience_s: float = 60, enough: int | None = None) -> list[bytes]:
    """What each of them is told until it is closed, or until so many are."""
    received = dict.fromkeys(connections, b"")
    give_up_at = time.monotonic() + patience_s
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        left = 0 if enough is None else len(connections) - enough
        while len(selector.get_map()) > left and time.monotonic() < give_up_at:
            for key, _ in selector.select(1):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                chunk = connection.recv(65536)
                received[connection] += chunk
                if not chunk:
                    selector.unregister(connection)
    return list(received.values())


@pytest.mark.usefixtures("many_descriptors")
def test_idle_connections_and_half_requests_stall_nobody() -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * (MANY + HALF) + 500:
        pytest.fail("this needs `ulimit -n` of 5,100 or more")
    with running_door(read_timeout_s=3.0) as door, contextlib.ExitStack() as open_ones:
        idle = [open_ones.enter_context(connect(door)) for _ in range(MANY)]
        half = [open_ones.enter_context(connect(door)) for _ in range(HALF)]
        whole = signed(door, "/v1/submitjob", b'{"jobName": "a"}')
        for connection in half:
            connection.sendall(whole[:-5])
        for _ in range(50):
            assert status_of(talk(door, signed(door, "/v1/describejobs", b'{"jobs": []}'))) == 200
        assert len(door.toys.seen) == 50
        told = answers(half)
        assert {status_of(answer) for answer in told} == {408}
        for connection in idle[::100]:  # these have all their time
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b" 200 " in connection.recv(65536)


def test_more_connections_than_there_is_room_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "most_connections", lambda: 20)
    with contextlib.ExitStack() as open_ones:
        inside = [open_ones.enter_context(connect(door)) for _ in range(15)]
        beyond = [open_ones.enter_context(connect(door)) for _ in range(20)]
        refused = [answer for answer in answers(beyond, enough=10) if answer]
        assert len(refused) >= 10 and {status_of(answer) for answer in refused} == {503}
        inside[0].sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in inside[0].recv(65536)
    monkeypatch.undo()
    assert still_serves(door)


def test_what_is_held_of_bodies_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three large requests, of which only two may be held at once; the third is told to try again, and may later."""
    size = 900_000
    monkeypatch.setattr(exchange, "MOST_HELD_BYTES", 2 * size + 1000)
    body = json.dumps({"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "x" * size}]}).encode()
    with running_door(read_timeout_s=120.0) as door:
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "Logs_20140328.PutLogEvents"}
        told = sigv4.sign("POST", f"{door.url}/", headers, body, ROOT, "us-east-1", "logs", time.time())
        request = head("/", {"content-length": str(len(body))} | told) + body
        with connect(door) as first, connect(door) as second, connect(door) as third:
            for connection in (first, second):
                connection.sendall(request[:-10])
            give_up_at = time.monotonic() + 60
            while exchange._held.size < 2 * (len(body) - 10) and time.monotonic() < give_up_at:
                time.sleep(0.01)
            with contextlib.suppress(OSError):  # refused before it had said all
                third.sendall(request[:-10])
            refusal = third.recv(65536)
            assert status_of(refusal) >= 500 and b"ServiceUnavailableException" in refusal
            for connection in (first, second):
                connection.sendall(request[-10:])
                assert status_of(connection.recv(65536)) == 200
        assert exchange._held.size == 0
        assert status_of(talk(door, request)) == 200
        assert json.load(urllib.request.urlopen(f"{door.url}/healthz", timeout=60))["ready"]
