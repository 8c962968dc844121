"""The two ends of one exchange over ASGI: a request as the house knows it, and a response on its way out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from batchyard.model.fault import Fault
from batchyard.server.whole import sent_whole
from batchyard.wire.http import HttpRequest, HttpResponse

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# In the `state` of a scope: the whole body has arrived, so that reading it cannot keep anybody waiting (5 µs less per request).
BODY_IS_HERE = "batchyard.body_is_here"

# How long a client may take no byte of an answer that streams; what it holds here is a file and a buffer.
STALLED_READER_S = 600.0

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


# What may be held of bodies that are still coming, of all connections together; a small body is here before anybody looks at it.
MOST_HELD_BYTES = 256 * 1024 * 1024


class _Held:
    """How much is held just now."""

    size = 0


_held = _Held()


class _TooLarge(Exception):
    """More came than there is room for."""


class BodyAsked:
    """`receive`, and whether anybody has called it yet: a client that sent `Expect: 100-continue` holds its body back until then."""

    __slots__ = ("_receive", "yet")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.yet = False

    def __call__(self) -> Awaitable[dict[str, Any]]:
        self.yet = True
        return self._receive()


def request_of(scope: Scope, receive: Receive, read_timeout_s: float) -> HttpRequest:
    """The request that `scope` describes; its body is not read yet."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    client = scope.get("client")
    return HttpRequest(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        headers,
        _chunks(receive, read_timeout_s),
        client[0] if client else "",
    )


async def _chunks(receive: Receive, read_timeout_s: float) -> AsyncIterator[bytes]:
    """The body as it comes. A client that stays silent or goes away gets a `Fault`, not our patience."""
    while True:
        try:
            async with asyncio.timeout(read_timeout_s):
                message = await receive()
        except TimeoutError as error:
            raise _timed_out() from error
        if message["type"] != "http.request":
            raise Fault("IncompleteBody", "The connection was closed before the body of the request was complete.")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def read_whole(request: HttpRequest, receive: Receive, limit: int, timeout_s: float | None) -> bytes:
    """The body of a request that does not stream. Raises a `Fault` when it is larger than `limit` bytes or does not come within
    `timeout_s`; None when it is here already."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and (len(stated) > 18 or int(stated) > limit):
        raise too_large(limit)
    if not stated and "transfer-encoding" not in request.headers:
        return b""
    try:
        if timeout_s is None:
            return (await _next_part(receive, limit))[0]
        async with asyncio.timeout(timeout_s):
            body, more = await _next_part(receive, limit)
            if not more:
                return body
            return await _rest(body, receive, limit)
    except TimeoutError as error:
        raise _timed_out() from error
    except _TooLarge as error:
        raise too_large(limit) from error


async def _rest(begun: bytes, receive: Receive, limit: int) -> bytes:
    """A body that comes in parts, whole. Raises a `Fault` when too much is being held already."""
    whole, more = bytearray(begun), True
    counted = len(whole)
    _held.size += counted
    try:
        while more:
            part, more = await _next_part(receive, limit - len(whole))
            if _held.size + len(part) > MOST_HELD_BYTES:
                raise Fault("ServiceUnavailableException", "Too many large requests are being sent at this moment: try again.")
            _held.size += len(part)
            counted += len(part)
            whole += part
        return bytes(whole)
    finally:
        _held.size -= counted


async def _next_part(receive: Receive, room: int) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise Fault("IncompleteBody", "The connection was closed before the body of the request was complete.")
    part: bytes = message.get("body", b"")
    if len(part) > room:
        raise _TooLarge
    return part, message.get("more_body", False)


def too_large(limit: int) -> Fault:
    """The fault for a body of more than `limit` bytes."""
    return Fault("RequestEntityTooLargeException", f"The body of the request is larger than {limit} bytes.")


def _timed_out() -> Fault:
    return Fault(
        "RequestTimeoutException",
        "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.",
    )


def refuse_unsendable(response: HttpResponse) -> None:
    """Raises a `Fault` when a header would break the frame of the response, as a value taken from a query string might."""
    for name, value in response.headers.items():
        if _CONTROL.search(value):
            raise Fault("InvalidArgument", f"The value of the header {name} holds control characters.")


async def send_response(response: HttpResponse, is_head: bool, receive: Receive, send: Send) -> int:
    """Sends all of it. A streamed body is left off as soon as the client is gone. The number of bytes of the body that went out."""
    body = response.body
    headers = response.headers
    if isinstance(body, bytes):
        if is_head or response.status in (204, 304):
            body = b""
        else:
            headers["content-length"] = str(len(body))
            if sent_whole(response, body, send):
                return len(body)
        await send({"type": "http.response.start", "status": response.status, "headers": _raw(headers)})
        await send({"type": "http.response.body", "body": body})
        return len(body)
    sent = 0
    try:
        await send({"type": "http.response.start", "status": response.status, "headers": _raw(headers)})
        if not is_head:
            sent = await _stream(body, receive, send)
        await send({"type": "http.response.body", "body": b""})
        return sent
    finally:
        if hasattr(body, "aclose"):
            await body.aclose()


async def _stream(body: AsyncIterator[bytes], receive: Receive, send: Send) -> int:
    gone, sent = asyncio.ensure_future(_until_gone(receive)), 0
    try:
        async for chunk in body:
            if gone.done():
                return sent
            async with asyncio.timeout(STALLED_READER_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            sent += len(chunk)
        return sent
    except TimeoutError as error:
        raise _timed_out() from error
    finally:
        gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    try:
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    except UnicodeEncodeError:
        return [(name.encode(), value.encode()) for name, value in headers.items()]
