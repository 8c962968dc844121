"""Answers that are all there go out in one piece. Over ASGI uvicorn hands head and body to the kernel one after the other, and each of
the two costs as much as deciding what becomes of a SubmitJob."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from batchyard.wire.http import HttpResponse

# Headers that mean nothing to uvicorn: with any other one (of S3, say) it looks at the answer itself.
PLAIN = frozenset(("content-type", "content-length", "x-amzn-requestid", "x-amzn-errortype", "x-amz-request-id", "x-amz-id-2"))


def sent_whole(response: HttpResponse, body: bytes, send: Any) -> bool:
    """Whether it went out, as `send` would have sent it. If not, nothing has: `send` is not uvicorn's, the client does not read, or the
    answer has something in its head that must be looked at. `content-length` is that of `body`."""
    cycle, headers = getattr(send, "__self__", None), response.headers
    if not isinstance(cycle, RequestResponseCycle) or not headers.keys() <= PLAIN or response.status not in STATUS_LINE:
        return False
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or cycle.access_log:
        return False
    head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not head.isascii() or head.count("\n") != len(headers) or head.count("\r") != len(headers):
        return False
    parts = [STATUS_LINE[response.status]]
    for name, value in cycle.default_headers:
        parts += (name, b": ", value, b"\r\n")
    parts += (head.encode(), b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.transport.write(b"".join(parts))
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
