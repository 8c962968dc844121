"""Events by HTTP: one POST of JSON for each, signed, so that the receiver can tell who it is from."""

from __future__ import annotations

import functools
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from batchyard.services.announcing.happening import Happening
from batchyard.services.announcing.listeners import Listener, Notice, Refused, TryLater

TIMEOUT_S = 10.0
SIGNATURE = "X-Batchyard-Signature"
TIMESTAMP = "X-Batchyard-Timestamp"
EVENT_ID = "X-Batchyard-Event-Id"
# Answers after which trying again may help: the receiver is not set up yet, busy, or wants other keys.
_LATER = frozenset({401, 403, 404, 407, 408, 409, 425, 429})


def webhook(url: str, secret: bytes) -> Listener:
    """The listener that posts every event to `url`."""
    return Listener(f"webhook/{url}", json_of, functools.partial(post_all, "POST", url, functools.partial(_signed, secret)))


def json_of(event: Happening) -> str:
    """An event as it is sent where nothing else is asked for."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256, in hexadecimal, of the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _signed(secret: bytes, notice: Notice, body: bytes) -> Mapping[str, str]:
    timestamp = str(int(time.time()))
    return {SIGNATURE: signature(secret, timestamp, body), TIMESTAMP: timestamp}


def post_all(method: str, url: str, headers: Callable[[Notice, bytes], Mapping[str, str]], notices: Sequence[Notice]) -> int:
    """Send each notice by its own request over one connection; how many were taken. See `listeners.Send` for what it raises."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        for sent, notice in enumerate(notices):
            try:
                _post(connection, method, path, notice, headers)
            except (TryLater, Refused):
                if sent:
                    return sent  # the one at fault is the first of the next round
                raise
    finally:
        connection.close()
    return len(notices)


def _post(
    connection: http.client.HTTPConnection, method: str, path: str, notice: Notice, headers: Callable[[Notice, bytes], Mapping[str, str]]
) -> None:
    body = notice.text.encode()
    own = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "batchyard", EVENT_ID: notice.id}
    try:
        connection.request(method, path, body, {**own, **headers(notice, body)})
        answer = connection.getresponse()
        answer.read(65536)
        if answer.will_close or not answer.isclosed():
            connection.close()  # it is opened again for the next
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TryLater(str(error) or type(error).__name__) from error
    if 200 <= answer.status < 300:
        return
    if answer.status in _LATER or not 400 <= answer.status < 500:
        raise TryLater(f"it answers {answer.status}")
    raise Refused(f"it answers {answer.status}")
