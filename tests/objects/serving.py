"""Serves an object store over HTTP for the tests, without signatures: what the door does otherwise."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.s3 import handle
from batchyard.store.objects import ObjectStore
from batchyard.wire import errors, shapes
from batchyard.wire.http import HttpRequest, HttpResponse

ACCOUNT = "123456789012"


def caller(account: str = ACCOUNT, region: str = "us-east-1") -> Caller:
    """The root of an account."""
    return Caller(account, region, "AKIATEST", f"arn:aws:iam::{account}:root", account, "request-1")


class Shim:
    """An ASGI application in front of `handle`. `account` is who calls; an empty one calls anonymously."""

    def __init__(self, store: ObjectStore, region: str = "us-east-1") -> None:
        self.desk = SimpleNamespace(objects=store)
        self.account = ACCOUNT
        self.region = region

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            text = name.decode("latin-1").lower()
            joined = [headers[text]] if text in headers else []
            headers[text] = ",".join([*joined, value.decode("latin-1")])
        request = HttpRequest(
            scope["method"], scope["raw_path"].decode(), scope["query_string"].decode(), headers, _body(receive)
        )
        if headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            request.body = _deframed(request)
        who = caller(self.account, self.region) if self.account else None
        try:
            response = await handle(self.desk, who, request)
        except Fault as fault:
            response = errors.encode_fault("s3", shapes.load("s3").model, "rest-xml", fault, "request-1")
        await _send(send, response, request.method == "HEAD")


async def _body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Fault("IncompleteBody", "The request body ended early.")
        if message["body"]:
            yield message["body"]
        if not message.get("more_body"):
            return


async def _deframed(request: HttpRequest) -> AsyncIterator[bytes]:
    """aws-chunked without the signatures; the whole body at once."""
    raw = b"".join([chunk async for chunk in request.body])
    while raw:
        head, _, raw = raw.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if size == 0:
            break
        yield raw[:size]
        raw = raw[size + 2 :]
    for line in raw.split(b"\r\n"):
        name, _, value = line.decode().partition(":")
        if name:
            request.trailers[name.lower()] = value.strip()


async def _send(send: Any, response: HttpResponse, head: bool) -> None:
    headers = dict(response.headers)
    if isinstance(response.body, bytes) and not head:
        headers["content-length"] = str(len(response.body))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    if isinstance(response.body, bytes):
        await send({"type": "http.response.body", "body": b"" if head else response.body})
        return
    async for chunk in response.body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def served(store: ObjectStore, region: str = "us-east-1") -> Iterator[tuple[str, Shim]]:
    """The URL of a server of `store` in a thread of its own, and its application."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    shim = Shim(store, region)
    server = uvicorn.Server(uvicorn.Config(shim, log_level="error", lifespan="off", server_header=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", shim
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()


def open_store(root: Path) -> ObjectStore:
    """A store in a folder below `root`."""
    return ObjectStore(root / "objects")
