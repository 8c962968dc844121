"""The doors against whoever knocks badly: slow, many, endless and wrong ones hurt nobody but themselves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from batchyard.compute.local.doors import listener
from batchyard.compute.local.doors.listener import HOST, Listener, Request, Response
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.tasks import Promise

ASKED = b"GET /who HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture
def loop() -> Loop:
    return Loop(lambda: None)


@pytest.fixture
def doors(loop: Loop) -> Iterator[Listener]:
    made = Listener(loop, lambda request: Response(200, f"{request.method} {request.path}".encode()))
    yield made
    made.close()


def connected(doors: Listener) -> socket.socket:
    return socket.create_connection((HOST, doors.port), timeout=90)


def turned(loop: Loop, done: Callable[[], object], patience_s: float = 90) -> None:
    """Turn the loop until something is so."""
    limit_s = boot_s() + patience_s
    while not done():
        assert boot_s() < limit_s
        loop.wake_at(boot_s() + 0.02)
        loop.once()


def answered(loop: Loop, *peers: socket.socket) -> list[bytes]:
    """What each gets until its connection is closed."""
    got: dict[socket.socket, bytes] = {}

    def read(peer: socket.socket) -> None:
        pieces: list[bytes] = []
        try:
            while piece := peer.recv(262_144):
                pieces.append(piece)
        except ConnectionError:
            pieces.append(b"(reset)")
        got[peer] = b"".join(pieces)

    threads = [threading.Thread(target=read, args=(peer,), daemon=True) for peer in peers]
    for thread in threads:
        thread.start()
    turned(loop, lambda: len(got) == len(peers))
    return [got[peer] for peer in peers]


def test_a_question_in_pieces_is_answered_once_it_is_whole(loop: Loop, doors: Listener) -> None:
    with connected(doors) as peer:
        for at in range(0, len(ASKED), 7):
            peer.sendall(ASKED[at : at + 7])
            loop.wake_at(boot_s() + 0.01)
            loop.once()
        (answer,) = answered(loop, peer)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nGET /who")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /who HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", b"400"),
        (b"\xff\xfe\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 9000, b"431"),
        (b"PUT /who HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", b"413"),
        (b"PUT /who HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"413"),
        (b"PUT /who HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"413"),
        (b"PUT /who HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"413"),
        (b"PUT /who HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"200"),
    ],
)
def test_what_is_no_question_is_refused(loop: Loop, doors: Listener, sent: bytes, status: bytes) -> None:
    with connected(doors) as peer:
        peer.sendall(sent)
        (answer,) = answered(loop, peer)
    assert answer.split(b" ", 2)[1] == status


def test_who_asks_for_the_head_gets_that_of_the_answer_and_no_more(loop: Loop, doors: Listener) -> None:
    with connected(doors) as peer:
        peer.sendall(b"HEAD /who HTTP/1.1\r\n\r\n")
        (answer,) = answered(loop, peer)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 8\r\n" in answer  # of "GET /who"
    assert answer.endswith(b"\r\n\r\n")


def test_a_mistake_in_an_answer_ends_nobody_but_the_question(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(request: Request) -> Response:
        raise KeyError(request.path)

    doors = Listener(loop, wrong)
    with connected(doors) as peer:
        peer.sendall(ASKED)
        (answer,) = answered(loop, peer)
    doors.close()
    assert b" 500 " in answer
    assert "KeyError: '/who'" in capsys.readouterr().out


def test_who_says_nothing_is_shown_out(loop: Loop, doors: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "QUESTION_S", 1.0)
    with connected(doors) as silent, connected(doors) as slow:
        slow.sendall(ASKED[:10])
        assert answered(loop, silent, slow) == [b"", b""]


def test_the_longest_waiting_gives_way_when_there_are_too_many(loop: Loop, doors: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "CONNECTIONS_MOST", 4)
    hoarded = [connected(doors) for _ in range(4)]
    for _ in hoarded:
        loop.wake_at(boot_s() + 0.01)
        loop.once()
    with connected(doors) as late:
        late.sendall(ASKED)
        answers = answered(loop, late, hoarded[0])
    assert answers[0].endswith(b"GET /who")
    assert answers[1] == b""
    for peer in hoarded:
        peer.close()


def test_a_flood_waits_outside_and_the_loop_goes_on(loop: Loop, doors: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PER_SECOND", 5)
    doors._allowed = 5.0  # as after a quiet second
    ticks: list[float] = []
    peers = [connected(doors) for _ in range(12)]
    for peer in peers:
        peer.sendall(ASKED)
    loop.at(boot_s(), lambda: ticks.append(boot_s()))
    answers = answered(loop, *peers)
    assert all(answer.endswith(b"GET /who") for answer in answers)
    assert ticks
    for peer in peers:
        peer.close()


def test_an_answer_may_come_later_and_larger_than_the_socket_takes(loop: Loop) -> None:
    promise: Promise[Response] = Promise()
    doors = Listener(loop, lambda request: promise)
    with connected(doors) as peer:
        peer.sendall(ASKED)
        loop.at(boot_s() + 0.05, lambda: promise.keep(Response(200, b"x" * 4_000_000)))
        (answer,) = answered(loop, peer)
    doors.close()
    assert len(answer.partition(b"\r\n\r\n")[2]) == 4_000_000


def test_who_leaves_before_the_answer_is_not_waited_for(loop: Loop) -> None:
    promise: Promise[Response] = Promise()
    doors = Listener(loop, lambda request: promise)
    with connected(doors) as peer:
        peer.sendall(ASKED)
        loop.wake_at(boot_s() + 0.05)
        loop.once()
        loop.once()
    for _ in range(3):
        loop.wake_at(boot_s() + 0.02)
        loop.once()
    promise.keep(Response(200, b"late"))
    with connected(doors) as other:
        other.sendall(ASKED)
        (answer,) = answered(loop, other)
    doors.close()
    assert answer.endswith(b"late")
