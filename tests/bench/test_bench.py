"""The bench must not flatter: wrong answers stop it, missing peers are shown, a goal is reached only if it is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from bench.report import Line

from bench import load, report

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
Served = Callable[..., tuple[str, int]]


@pytest.fixture
def served() -> Iterator[Served]:
    """Makes a server that answers every request with the next of the given pieces, and closes where told."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve(pieces: list[bytes], closes: bool) -> None:
            waiting = iter(pieces)
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    while peer.recv(4096) and (piece := next(waiting, None)) is not None:
                        peer.sendall(piece)
                        if closes:
                            break

        def start(*pieces: bytes, closes: bool = False) -> tuple[str, int]:
            threading.Thread(target=serve, args=(list(pieces), closes), daemon=True).start()
            return listener.getsockname()

        yield start
        listener.shutdown(socket.SHUT_RDWR)


def answer(status: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    head = [f"HTTP/{version} {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_every_answer_is_taken(served: Served) -> None:
    address = served(answer("200 OK", b"one"), answer("200 OK", b"two"))
    driven = load.drive(address, [REQUEST] * 2, 1)
    assert driven.bodies == [b"one", b"two"]
    assert len(driven.latencies_s) == 2


@pytest.mark.parametrize(
    "piece", [answer("200 OK", b"x", "Connection: close"), answer("200 OK", b"x", version="1.0")], ids=["close", "HTTP/1.0"]
)
def test_a_server_that_closes_is_connected_to_again(served: Served, piece: bytes) -> None:
    assert load.drive(served(piece, piece, piece, closes=True), [REQUEST] * 3, 1).bodies == [b"x"] * 3


def test_a_refusal_is_no_figure(served: Served) -> None:
    with pytest.raises(load.WrongAnswer, match="ThrottlingException"):
        load.drive(served(answer("429 Slow", b"ThrottlingException")), [REQUEST], 1)


def test_a_broken_connection_is_no_figure(served: Served) -> None:
    with pytest.raises(load.WrongAnswer, match="closed before the answer"):
        load.drive(served(answer("200 OK", b"whole")[:-3], closes=True), [REQUEST], 1)


def test_goals_are_reached_only_together() -> None:
    ours, peer = Line("ours", [100.0, 120.0, 90.0]), Line("peer", [50.0, 40.0, 60.0])
    report.compare(ours, peer, at_least=2)
    assert (ours.compared, ours.reached) == ("2.0 x peer", True)
    report.want(ours, ">= 5,000/s", ours.median >= 5000)
    assert (ours.goal, ours.reached) == (">= 2 x peer and >= 5,000/s", False)


def test_a_peer_that_did_not_run_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ours, peer = Line("ours", [1.0]), Line("peer", why_not="it is not there")
    report.compare(ours, peer, at_least=2)
    assert ours.reached is None
    report.show("title", [ours, peer])
    assert "not run:  it is not there" in capsys.readouterr().out


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert report.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert report.percentile([float(n) for n in range(100)], 0.99) == 99.0


def test_what_one_takes_more_is_told_pair_by_pair() -> None:
    slow_machine = [10.0 * (n % 7) for n in range(20)]  # met both of each pair
    difference = report.paired([2.0 + n % 3 + slow for n, slow in enumerate(slow_machine)], slow_machine)
    assert difference == (3.0, 2.0, 4.0)


def test_few_pairs_prove_nothing() -> None:
    difference = report.paired([2.0] * 5, [1.0] * 5)
    assert difference == (1.0, float("-inf"), float("inf"))
    assert report.paired([2.0] * 6, [1.0] * 6) == (1.0, 1.0, 1.0)
