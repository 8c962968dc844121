"""The HTTP side of the doors, on the node's loop: one question for each connection, and bounds on everything that a job could overdo.

A job may be hostile and the node has other things to do. So nothing here blocks; a question has to be whole and the answer taken within
a few seconds; so many connections at a time, the longest waiting one gives way to a new one; and so many in a second, beyond which new
ones wait in the kernel until their time comes.
"""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from batchyard.compute.local.loop import READ, WRITE, Loop, Timer, boot_s
from batchyard.compute.local.node_log import say
from batchyard.compute.local.tasks import Promise

HOST = "127.0.0.1"
TASKS, INSTANCES = "169.254.170.2", "169.254.169.254"  # what programs have built in: ECS's address and EC2's (see `link_local`)
HEAD_BYTES_MOST = 8192
BODY_BYTES_MOST = 4096  # of what nobody reads: the answer would be lost if it were left in the socket
CONNECTIONS_MOST = 128
PER_SECOND = 400
PER_TURN = 16
QUESTION_S = 5.0  # until a question has to be whole, and again until its answer has to be taken
ANSWER_S = 15.0  # how long an answer may take to be made
_PAUSE_S = 0.05
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}


class Request(NamedTuple):
    """A question. Header names are in lower case; `path` has no query. `peer` and `own` are the ends of its connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    peer: tuple[str, int] = ("", 0)
    own: tuple[str, int] = (HOST, 0)


class Response(NamedTuple):
    """An answer."""

    status: int
    content: bytes = b""
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Answer = Response | Promise[Response]


class Listener:
    """Listens on a free port of 127.0.0.1, or by a socket that listens already. OSError if there is none."""

    def __init__(self, loop: Loop, answer: Callable[[Request], Answer], listening: socket.socket | None = None) -> None:
        self._loop, self._answer = loop, answer
        self._guests: dict[_Guest, None] = {}  # the one that came first stands first
        self._allowed = float(PER_SECOND)
        self._counted_s = boot_s()
        self._listening = listening or _listening()
        self._listening.setblocking(False)
        self._own: tuple[str, int] = self._listening.getsockname()
        self._resuming: Timer | None = None
        loop.watch(self._listening.fileno(), self._knock)

    @property
    def port(self) -> int:
        return self._own[1]

    def close(self) -> None:
        """Listen no more, and hang up on all who are here."""
        self._loop.cancel(self._resuming)
        self._loop.forget(self._listening.fileno())
        self._listening.close()
        for guest in list(self._guests):
            guest.leave()

    def _knock(self, _: int) -> None:
        now_s = boot_s()
        self._allowed = min(float(PER_SECOND), self._allowed + (now_s - self._counted_s) * PER_SECOND)
        self._counted_s = now_s
        for _turn in range(PER_TURN):
            if self._allowed < 1.0:
                self._pause()
                return
            try:
                peer, place = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptors left, say: asking again at once would only burn time
                self._pause()
                return
            self._allowed -= 1.0
            if len(self._guests) >= CONNECTIONS_MOST:
                next(iter(self._guests)).leave()
            self._guests[_Guest(peer, self._loop, partial(self._ask, place), self._left)] = None

    def _ask(self, place: tuple[str, int], request: Request) -> Answer:
        return self._answer(request._replace(peer=place, own=self._own))

    def _pause(self) -> None:
        """Let those that knock wait in the kernel for a moment."""
        self._loop.forget(self._listening.fileno())
        self._resuming = self._loop.at(boot_s() + _PAUSE_S, lambda: self._loop.watch(self._listening.fileno(), self._knock))

    def _left(self, guest: _Guest) -> None:
        self._guests.pop(guest, None)


class _Guest:
    """One connection: a question is read, answered, and that is all."""

    def __init__(self, peer: socket.socket, loop: Loop, answer: Callable[[Request], Answer], left: Callable[[_Guest], None]) -> None:
        self._peer, self._loop, self._answer, self._left = peer, loop, answer, left
        self._read = bytearray()
        self._waiting: memoryview | None = None  # of the answer, what the socket has not taken yet
        self._asked = False
        self._wants_head = False  # and no more of the answer
        self._open = True
        self._limit = loop.at(boot_s() + QUESTION_S, self.leave)
        peer.setblocking(False)
        loop.watch(peer.fileno(), self._ready)

    def leave(self) -> None:
        """Close the connection."""
        if self._open:
            self._open = False
            self._loop.cancel(self._limit)
            self._loop.forget(self._peer.fileno())
            self._peer.close()
            self._left(self)

    def _ready(self, events: int) -> None:
        if self._waiting is not None and events & WRITE:
            self._push()
        elif events & ~WRITE:
            self._pull()

    def _pull(self) -> None:
        try:
            content = self._peer.recv(HEAD_BYTES_MOST)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content or self._asked:  # gone; or there is more than a question, which is not what was agreed
            self.leave()
            return
        self._read += content
        head, end, body = bytes(self._read).partition(b"\r\n\r\n")
        if len(head) > HEAD_BYTES_MOST or (not end and len(self._read) > HEAD_BYTES_MOST):
            self._reply(Response(431))
        elif end:
            self._ask(head, len(body))

    def _ask(self, head: bytes, body_bytes: int) -> None:
        request = _request(head)
        if request is None:
            self._reply(Response(400))
            return
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or len(announced) > 6 or int(announced) > BODY_BYTES_MOST or "transfer-encoding" in request.headers:
            self._reply(Response(413))
        elif body_bytes >= int(announced):
            self._asked = True
            self._loop.cancel(self._limit)
            self._limit = self._loop.at(boot_s() + ANSWER_S, self.leave)
            self._tell(request)

    def _tell(self, request: Request) -> None:
        if request.method == "HEAD":  # scripts that wait for a notice ask so, and look for 404
            self._wants_head = True
            request = request._replace(method="GET")
        try:
            answer = self._answer(request)
        except Exception as error:  # noqa: BLE001 - not swallowed: a mistake in an answer must not end the node and all jobs with it
            say("".join(traceback.format_exception(error)))
            answer = Response(500)
        if isinstance(answer, Response):
            self._reply(answer)
        else:
            later = answer
            later.then(lambda: self._reply_late(later))

    def _reply_late(self, answer: Promise[Response]) -> None:
        try:
            response = answer.result()
        except Exception as error:  # noqa: BLE001 - not swallowed: see above
            say("".join(traceback.format_exception(error)))
            response = Response(500)
        self._reply(response)

    def _reply(self, response: Response) -> None:
        if not self._open:
            return
        self._asked = True
        self._loop.cancel(self._limit)
        self._limit = self._loop.at(boot_s() + QUESTION_S, self.leave)
        content = b"" if self._wants_head else response.content
        self._waiting = memoryview(_head(response) + content)
        self._push()

    def _push(self) -> None:
        assert self._waiting is not None
        try:
            while self._waiting:
                self._waiting = self._waiting[self._peer.send(self._waiting) :]
        except BlockingIOError:
            self._loop.watch(self._peer.fileno(), self._ready, READ | WRITE)
            return
        except OSError:
            pass  # it is gone
        self.leave()


def _listening() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.bind((HOST, 0))
        made.listen(CONNECTIONS_MOST)
    except OSError:
        made.close()
        raise
    return made


def _request(head: bytes) -> Request | None:
    """The question in the head of an HTTP request; None if it is none."""
    try:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        return None
    if not version.startswith("HTTP/1.") or not target.startswith("/"):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        headers[name.strip().lower()] = value.strip()
    return Request(method, target.partition("?")[0], headers)


def _head(response: Response) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {_PHRASES[response.status]}",
        f"Content-Type: {response.kind}",
        f"Content-Length: {len(response.content)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
