"""What strangers send: too much, too slowly, half of it, or nothing that is HTTP. Always a 4xx or a closed connection, and the
next one is served."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from door_toys import ACCOUNT, JOB, ROOT, Door, Toys, client_of, lookup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.server import exchange, listener
from batchyard.server.app import BODY_LIMIT, BODY_LIMITS, App, DoorSettings
from batchyard.wire import sigv4
from batchyard.wire.sigv4 import Credential

JSON = {"content-type": "application/json"}


def talk(door: Door, sent: bytes, *, then_close: bool = False, patience_s: float = 60) -> bytes:
    """Everything that comes back until the other side closes or is silent for a while."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=patience_s) as connection:
        try:
            connection.sendall(sent)
            if then_close:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while not _is_whole(received):
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received += chunk
        except (ConnectionResetError, BrokenPipeError):
            return b""
        return received


def _is_whole(received: bytes) -> bool:
    head, gap, body = received.partition(b"\r\n\r\n")
    if not gap or head.startswith(b"HTTP/1.1 100"):
        return False
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])


def status_of(received: bytes) -> int:
    assert received.startswith(b"HTTP/1.1 "), received[:200]
    return int(received[9:12])


def signed(door: Door, path: str, body: bytes, headers: dict[str, str] = JSON, service: str = "batch", **more: Any) -> bytes:
    """A whole signed POST as bytes."""
    url = f"{door.url}{path}"
    all_headers = sigv4.sign("POST", url, headers, body, ROOT, "us-east-1", service, time.time(), **more)
    return head(path, {"content-length": str(len(body))} | all_headers) + body


def head(path: str, headers: dict[str, str], method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def still_serves(door: Door) -> bool:
    return bool(json.load(urllib.request.urlopen(f"{door.url}/healthz", timeout=60))["ready"])


# ---- too much ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "path", "headers", "limit", "code"),
    [
        ("batch", "/v1/submitjob", JSON, BODY_LIMIT, b"RequestEntityTooLargeException"),
        (
            "logs",
            "/",
            {"content-type": "application/x-amz-json-1.1", "x-amz-target": "Logs_20140328.PutLogEvents"},
            BODY_LIMITS["logs"],
            b"RequestEntityTooLargeException",
        ),
        ("sts", "/", {"content-type": "application/x-www-form-urlencoded"}, BODY_LIMIT, b"RequestEntityTooLargeException"),
    ],
)
def test_bodies_have_a_limit(door: Door, service: str, path: str, headers: dict[str, str], limit: int, code: bytes) -> None:
    for size, too_large in ((limit, False), (limit + 1, True), (limit * 3, True)):
        answer = talk(door, signed(door, path, b" " * size, headers, service))
        assert (status_of(answer) == 413) == too_large, answer[:300]
        assert (code in answer) == too_large
    assert status_of(answer) < 500
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    url = f"{door.url}{path}"
    all_headers = sigv4.sign("POST", url, headers, b"", ROOT, "us-east-1", service, time.time())
    endless = head(path, all_headers | {"transfer-encoding": "chunked"}) + chunk * (limit // 65536 + 2)
    assert status_of(talk(door, endless)) == 413
    assert still_serves(door)


def test_after_a_refusal_the_connection_serves_on(door: Door) -> None:
    """The rest of a body that nobody wants is read and forgotten."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        connection.sendall(signed(door, "/v1/submitjob", b" " * (3 << 20)) + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while b'"ready"' not in received:
            received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 413") == 1
    assert received.count(b"HTTP/1.1 200") == 1


def test_heads_have_a_limit(door: Door) -> None:
    fat = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-fat: " + b"a" * 900_000
    answer = talk(door, fat)
    assert answer == b"" or status_of(answer) == 431
    many = b"GET /healthz HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (at, b"b" * 100) for at in range(20_000))
    answer = talk(door, many)
    assert answer == b"" or status_of(answer) == 431
    assert still_serves(door)


# ---- too slow, or half of it ------------------------------------------------------------------------------------


def test_a_silent_body_times_out(hasty_door: Door) -> None:
    whole = signed(hasty_door, "/v1/submitjob", b'{"jobName": "a"}')
    answer = talk(hasty_door, whole[:-5])
    assert status_of(answer) == 408
    assert b"RequestTimeoutException" in answer
    assert b"connection: close" in answer.lower()


def test_a_silent_upload_times_out(hasty_door: Door) -> None:
    url = f"{hasty_door.url}/b/slow"
    headers = sigv4.sign("PUT", url, {}, b"", ROOT, "us-east-1", "s3", time.time(), payload="UNSIGNED-PAYLOAD")
    answer = talk(hasty_door, head("/b/slow", headers | {"content-length": "1000"}, "PUT") + b"x" * 10)
    assert status_of(answer) == 400
    assert b"<Code>RequestTimeout</Code>" in answer
    assert "/b/slow" not in hasty_door.toys.objects


def test_a_silent_head_times_out(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"200" in connection.recv(65536)
        monkeypatch.setattr(listener, "HEAD_TIMEOUT_S", 0.2)  # from here on, for who is in time may be late on a busy machine
        connection.sendall(b"GET /heal")
        assert connection.recv(65536) == b""
    assert talk(door, b"") == b""
    assert talk(door, b"GET /healthz HT") == b""


@pytest.mark.parametrize("cut", [1, 10, 17])
def test_a_connection_closed_in_the_middle_harms_nobody(door: Door, cut: int) -> None:
    whole = signed(door, "/v1/submitjob", b'{"jobName": "a"}')
    seen = len(door.toys.seen)
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        connection.sendall(whole[:-cut])
    url = f"{door.url}/b/cut"
    headers = sigv4.sign("PUT", url, {}, b"", ROOT, "us-east-1", "s3", time.time(), payload="UNSIGNED-PAYLOAD")
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        connection.sendall(head("/b/cut", headers | {"content-length": "1000"}, "PUT") + b"x" * cut)
    assert still_serves(door)
    assert len(door.toys.seen) == seen
    assert "/b/cut" not in door.toys.objects


def test_a_reader_that_leaves_is_not_written_to_for_ever(door: Door) -> None:
    client_of(door, "s3").put_object(Bucket="b", Key="large", Body=b"x" * 8_000_000)
    url = f"{door.url}/b/large"
    headers = sigv4.sign("GET", url, {}, b"", ROOT, "us-east-1", "s3", time.time())
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
            connection.sendall(head("/b/large", headers, "GET"))
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert still_serves(door)


def test_a_reader_that_stops_reading_is_left_after_a_while(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "STALLED_READER_S", 0.2)
    client_of(door, "s3").put_object(Bucket="b", Key="stall", Body=b"x" * 30_000_000)
    headers = sigv4.sign("GET", f"{door.url}/b/stall", {}, b"", ROOT, "us-east-1", "s3", time.time())
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head("/b/stall", headers, "GET"))
        figure = 'batchyard_requests_total{operation="GET",service="s3",status="599"}'
        give_up_at = time.monotonic() + 60
        while figure not in urllib.request.urlopen(f"{door.url}/metrics").read().decode():
            assert time.monotonic() < give_up_at
            time.sleep(0.02)


def test_a_body_that_fails_for_our_own_reasons_is_counted(door: Door, client: Callable[..., Any]) -> None:
    s3 = client("s3")
    s3.put_object(Bucket="b", Key="crashes", Body=b"x" * 100_000)
    with pytest.raises(Exception, match=r"IncompleteRead|Connection broken"):
        s3.get_object(Bucket="b", Key="crashes")["Body"].read()
    figures = urllib.request.urlopen(f"{door.url}/metrics").read().decode()
    assert 'batchyard_unexpected_exceptions_total{operation="GET",service="s3"} 1.0' in figures


# ---- manners ----------------------------------------------------------------------------------------------------


def test_continue_is_said_only_to_those_who_may(door: Door) -> None:
    url = f"{door.url}/b/expect"
    headers = sigv4.sign("PUT", url, {}, b"", ROOT, "us-east-1", "s3", time.time(), payload="UNSIGNED-PAYLOAD")
    headers |= {"content-length": "5", "expect": "100-continue"}
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        connection.sendall(head("/b/expect", headers, "PUT"))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert door.toys.objects["/b/expect"] == b"hello"
    proof = headers["authorization"]
    refused = head("/b/expect", headers | {"authorization": proof[:-1] + ("0" if proof[-1] != "0" else "1")}, "PUT")
    assert status_of(talk(door, refused)) == 403


def test_requests_one_behind_the_other(door: Door) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    two = signed(door, "/v1/describejobs", b'{"jobs": ["a"]}')
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        connection.sendall(one + two + one + two)
        received = b""
        while received.count(b"HTTP/1.1 200") < 4:
            chunk = connection.recv(65536)
            assert chunk, received
            received += chunk


def test_head_answers_have_no_body(door: Door) -> None:
    answer = talk(door, b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\n")
    answer = talk(door, b"HEAD /b/none HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert status_of(answer) == 404
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /%zz%ff?%zz=%ff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/tags/%ff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://elsewhere/b/k HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\nauthorization: a\r\nauthorization: b\r\n\r\n",
        b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nhello\r\n",
        b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: \xff\xfe.\xff\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /?Action=%00&Version=2011-06-15 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n\r\n\xff\xff\xff",
        b"GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\x00" * 100,
    ],
)
def test_what_is_hardly_http_gets_a_4xx_or_nothing(door: Door, garbage: bytes) -> None:
    answer = talk(door, garbage, then_close=True)
    assert (
        answer == b""
        or 400 <= status_of(answer) < 500
        or garbage.startswith((b"GET http", b"POST /v1/submitjob HTTP/1.1\r\nhost: x\r\nup"))
    )
    assert b"Traceback" not in answer
    assert still_serves(door)


# ---- anything at all, by every way in ---------------------------------------------------------------------------


async def _ask(app: App, method: str, path: bytes, query: bytes, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "raw_path": path,
        "query_string": query,
        "headers": [(name.encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()],
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


ROUTES: list[tuple[str, str, str, dict[str, str]]] = [
    *(
        ("batch", "POST", f"/v1/{name}", JSON)
        for name in ("submitjob", "registerjobdefinition", "describejobs", "listjobs", "createjobqueue")
    ),
    *(("batch", method, "/v1/tags/x", JSON) for method in ("GET", "POST", "DELETE")),
    *(
        ("logs", "POST", "/", {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"Logs_20140328.{name}"})
        for name in ("PutLogEvents", "DescribeLogGroups", "PutTransformer", "NoSuch")
    ),
    *(("sts", "POST", "/", {"content-type": "application/x-www-form-urlencoded"}) for _ in range(2)),
    ("batchyard", "POST", "/batchyard/v1/explain", JSON),
    ("iam", "POST", "/", {"content-type": "application/x-www-form-urlencoded"}),
    ("s3", "PUT", "/b/k", {}),
    ("s3", "GET", "/b/k", {}),
]
BYTES = st.binary(max_size=80) | st.text(max_size=30).map(str.encode) | st.just(b"Action=AssumeRole&Version=2011-06-15&Tags.member.1=")


@pytest.mark.parametrize("is_open", [False, True])
@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ROUTES), BYTES, st.text(st.characters(max_codepoint=255), max_size=30), st.booleans(), st.sampled_from([ROOT, JOB]))
def test_arbitrary_bytes_are_never_our_fault(
    is_open: bool, route: tuple[str, str, str, dict[str, str]], body: bytes, query: str, is_signed: bool, credential: Any
) -> None:
    service, method, path, headers = route
    toys = Toys()
    app = App(None, toys.services(), toys.s3, lookup, DoorSettings(ACCOUNT, "us-east-1", is_open))
    raw_query = query.replace("?", "").replace("#", "")
    headers = headers | {"content-length": str(len(body)), "host": "127.0.0.1"}
    if is_signed:
        url = f"http://127.0.0.1{path}" + (f"?{raw_query}" if raw_query.isascii() and raw_query.isprintable() else "")
        signed_headers = sigv4.sign(method, url, headers, body, credential, "us-east-1", service, time.time())
        raw_query = url.partition("?")[2]
        headers = signed_headers
    status, text = asyncio.run(_ask(app, method, path.encode(), raw_query.encode("latin-1"), headers, body))
    assert status < 500
    assert b"Traceback" not in text
    assert app.metrics._unexpected == {}


# ---- without signatures -----------------------------------------------------------------------------------------


def test_without_signatures_everybody_is_root(open_door: Door) -> None:
    request = urllib.request.Request(f"{open_door.url}/v1/describejobs", b'{"jobs": []}', JSON)
    assert urllib.request.urlopen(request).status == 200
    _, caller, _ = open_door.toys.seen[-1]
    assert (caller.account, caller.region, caller.arn) == (ACCOUNT, "us-east-1", f"arn:aws:iam::{ACCOUNT}:root")
    stranger = Credential("anybody", "anything", None, "", "", "")
    assert client_of(open_door, "sts", stranger).get_caller_identity()["Account"] == ACCOUNT
    client_of(open_door, "batch", stranger, region="eu-north-1").describe_compute_environments()
    assert open_door.toys.seen[-1][1].region == "eu-north-1"
    s3 = client_of(open_door, "s3", stranger)
    s3.put_object(Bucket="b", Key="k", Body=b"x" * 100_000)
    assert len(urllib.request.urlopen(f"{open_door.url}/b/k").read()) == 100_000
    form = urllib.request.Request(f"{open_door.url}/", b"Action=GetCallerIdentity&Version=2011-06-15")
    assert ACCOUNT.encode() in urllib.request.urlopen(form).read()
    bad = {"authorization": "AWS4-HMAC-SHA256 nonsense", "x-amz-content-sha256": "nonsense"}
    answer = talk(open_door, head("/v1/describejobs", JSON | bad | {"content-length": "12", "host": "localhost"}) + b'{"jobs": []}')
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    ("headers", "is_welcome"),
    [
        ({"host": "127.0.0.1:1"}, True),
        ({"host": "localhost:80"}, True),
        ({"host": "bucket.localhost:80"}, True),
        ({"host": "[::1]:80"}, True),
        ({"host": "192.168.1.7:80"}, True),
        ({"host": "yard.example"}, True),
        ({"host": "evil.example:80"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "[::x"}, False),
        ({"host": "127.0.0.1:1", "origin": "http://127.0.0.1:1"}, True),
        ({"host": "127.0.0.1:1", "origin": "http://127.0.0.1:2"}, False),
        ({"host": "127.0.0.1:1", "origin": "https://evil.example"}, False),
        ({"host": "127.0.0.1:1", "origin": "null"}, False),
        ({"host": "127.0.0.1:1", "origin": "http://[bad"}, False),
        ({"host": "127.0.0.1:1", "sec-fetch-site": "cross-site"}, False),
        ({"host": "127.0.0.1:1", "sec-fetch-site": "none"}, True),
    ],
)
def test_without_signatures_web_pages_are_not_answered(open_door: Door, headers: dict[str, str], is_welcome: bool) -> None:
    answer = talk(open_door, head("/v1/describejobs", JSON | headers | {"content-length": "12"}) + b'{"jobs": []}')
    assert status_of(answer) == (200 if is_welcome else 403)
    assert status_of(talk(open_door, head("/b/none", headers, "GET"))) == (404 if is_welcome else 403)


def test_without_signatures_a_form_is_no_json(open_door: Door) -> None:
    """The bodies that a browser sends without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = talk(
            open_door,
            head("/v1/describejobs", {"content-type": kind, "host": "localhost", "content-length": "12"}) + b'{"jobs": []}',
        )
        assert status_of(answer) == 415
    assert b"access-control-allow" not in answer.lower()
