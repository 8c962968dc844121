"""Events by HTTP: one request for each. A webhook's is a POST of JSON, signed, so that the receiver can tell who it is from."""

from __future__ import annotations

import functools
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from batchyard.services.announcing.happening import Happening
from batchyard.services.announcing.listeners import Listener, Notice, Refused, TryLater

TIMEOUT_S = 10.0
SIGNATURE = "X-Batchyard-Signature"
TIMESTAMP = "X-Batchyard-Timestamp"
EVENT_ID = "X-Batchyard-Event-Id"
JSON = "application/json; charset=utf-8"
# Answers after which trying again may help: the receiver is not set up yet, busy, or wants other keys.
_LATER = frozenset({401, 403, 404, 407, 408, 409, 425, 429})


class Call(NamedTuple):
    """One request, on a connection to where it goes. `path` is what stands in the request's line, the query with it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None


def webhook(url: str, secret: bytes) -> Listener:
    """The listener that posts every event to `url`."""
    path = path_of(url)

    def call_of(notice: Notice) -> Call:
        body = notice.text.encode()
        timestamp = str(int(time.time()))
        signed = {SIGNATURE: signature(secret, timestamp, body), TIMESTAMP: timestamp, EVENT_ID: notice.id}
        return Call("POST", path, {"Content-Type": JSON, "User-Agent": "batchyard", **signed}, body)

    return Listener(f"webhook/{url}", json_of, functools.partial(call_all, url, call_of, _LATER))


def path_of(url: str) -> str:
    """What of a URL stands in the line of a request."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def json_of(event: Happening) -> str:
    """An event as it is sent where nothing else is asked for."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256, in hexadecimal, of the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def call_all(url: str, call_of: Callable[[Notice], Call], later: Collection[int], notices: Sequence[Notice]) -> int:
    """Send each notice by its own request over one connection to `url`; how many were taken. See `listeners.Send` for what it raises.

    Answers of `later`, and those of 5xx, say that it may be taken when it is tried again.
    """
    try:
        parts = urlsplit(url)
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    except (ValueError, http.client.HTTPException) as error:  # kept by a version that did not look so closely
        raise Refused(f"{url!r} is no URL that can be sent to: {error}") from error
    try:
        for sent, notice in enumerate(notices):
            try:
                _send(connection, call_of(notice), later)
            except (TryLater, Refused):
                if sent:
                    return sent  # the one at fault is the first of the next round
                raise
    finally:
        connection.close()
    return len(notices)


def _send(connection: http.client.HTTPConnection, call: Call, later: Collection[int]) -> None:
    try:
        connection.request(call.method, call.path, call.body, dict(call.headers))
        answer = connection.getresponse()
        answer.read(65536)
        if answer.will_close or not answer.isclosed():
            connection.close()  # it is opened again for the next
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TryLater(str(error) or type(error).__name__) from error
    if 200 <= answer.status < 300:
        return
    if answer.status in later or not 400 <= answer.status < 500:
        raise TryLater(f"it answers {answer.status}")
    raise Refused(f"it answers {answer.status}")
