"""Random requests, many at once, against a dict: what is found at the end is what was answered, and nothing else is on the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest
from s3_serving import ACCOUNT, body_files, open_store

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.s3 import handle
from batchyard.services.s3.call import Call
from batchyard.store.objects import ObjectStore
from batchyard.wire.http import HttpRequest

CALLER = Caller(ACCOUNT, "us-east-1", "AKIA", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "r")
KEYS = [f"dir {number % 3}/key é {number}" for number in range(9)]


class Breaks(Exception):
    """The client goes away in the midst of its upload."""


class Client:
    """Sends requests to `handle`, one key at a time, and keeps in `model` what must be at each key."""

    def __init__(self, store: ObjectStore, seed: int, name: str) -> None:
        self.desk = SimpleNamespace(objects=store)
        self.dice = random.Random(f"{seed}-{name}")
        self.model: dict[str, bytes] = {}
        self.keys = [f"{name}/{key}" for key in KEYS]

    async def send(self, method: str, key: str, query: str = "", body: bytes = b"", **headers: str) -> tuple[Any, bytes]:
        """(response, its body)."""
        path = "/bucket/" + key.replace(" ", "%20").replace("é", "%C3%A9")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await handle(self.desk, CALLER, HttpRequest(method, path, query, named, self.chunks(body)))
        content = response.body if isinstance(response.body, bytes) else b"".join([chunk async for chunk in response.body])
        return response, content

    async def chunks(self, body: bytes, breaks: bool = False) -> AsyncIterator[bytes]:
        while body:
            size = self.dice.randint(1, 200_000)
            yield body[:size]
            body = body[size:]
            await asyncio.sleep(0)
        if breaks:
            raise Breaks

    def content(self) -> bytes:
        return self.dice.randbytes(self.dice.choice((0, 1, 1000, 300_000, 700_000)))

    async def step(self) -> None:
        key = self.dice.choice(self.keys)
        await self.dice.choice((self.put, self.put, self.delete, self.copy, self.parts, self.get, self.broken, self.claim))(key)

    async def put(self, key: str) -> None:
        content = self.content()
        await self.send("PUT", key, body=content)
        self.model[key] = content

    async def delete(self, key: str) -> None:
        await self.send("DELETE", key)
        self.model.pop(key, None)

    async def copy(self, key: str) -> None:
        source = self.dice.choice(self.keys)
        try:
            await self.send("PUT", key, x_amz_copy_source=f"bucket/{source}", x_amz_metadata_directive="REPLACE")
        except Fault as fault:
            assert fault.code == "NoSuchKey"
            assert source not in self.model
        else:
            self.model[key] = self.model[source]

    async def parts(self, key: str) -> None:
        _, answer = await self.send("POST", key, "uploads")
        query = "uploadId=" + answer.decode().partition("<UploadId>")[2].partition("<")[0]
        content = self.content()
        response, _ = await self.send("PUT", key, f"partNumber=3&{query}", content)
        if self.dice.random() < 0.3:
            await self.send("DELETE", key, query)
            return
        part = f"<Part><PartNumber>3</PartNumber><ETag>{response.headers['etag']}</ETag></Part>"
        document = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>"
        await self.send("POST", key, query, document.encode())
        self.model[key] = content

    async def get(self, key: str) -> None:
        try:
            response, content = await self.send("GET", key)
        except Fault as fault:
            assert (fault.code, key in self.model) == ("NoSuchKey", False)
        else:
            assert content == self.model[key]
            assert response.headers["content-length"] == str(len(content))

    async def broken(self, key: str) -> None:
        request = HttpRequest("PUT", f"/bucket/{key}", "", {}, self.chunks(self.content(), breaks=True))
        with pytest.raises(Breaks):
            await handle(self.desk, CALLER, request)

    async def claim(self, key: str) -> None:
        content = self.content()
        try:
            await self.send("PUT", key, body=content, if_none_match="*")
        except Fault as fault:
            assert (fault.code, key in self.model) == ("PreconditionFailed", True)
        else:
            assert key not in self.model
            self.model[key] = content


async def test_what_is_answered_is_what_is_found(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    store = open_store(tmp_path)
    clients = [Client(store, seed, name) for name in ("a", "b", "c", "d")]
    await clients[0].send("PUT", "")

    async def work(client: Client) -> None:
        for _ in range(60):
            await client.step()

    await asyncio.gather(*(work(client) for client in clients))
    model = {key: content for client in clients for key, content in client.model.items()}
    store.close()
    again = open_store(tmp_path)
    try:
        assert {key: again.read_bytes("bucket", key) for client in clients for key in client.keys} == {
            key: model.get(key) for client in clients for key in client.keys
        }
        bodies = "SELECT count(DISTINCT body) FROM piece WHERE body <> 0"
        deadline = time.monotonic() + 60
        while again.ask(lambda index: index.execute(bodies).fetchall())[0][0] != len(body_files(tmp_path)):
            assert time.monotonic() < deadline, "bodies that nothing refers to stay on the disk"
            await asyncio.sleep(0.05)
    finally:
        again.close()


async def test_of_many_who_claim_a_key_one_gets_it(store: ObjectStore) -> None:
    client = Client(store, 1, "claims")
    await client.send("PUT", "")

    async def claim(number: int) -> int:
        try:
            await client.send("PUT", "lock", body=b"%d" % number, if_none_match="*")
        except Fault as fault:
            assert fault.code == "PreconditionFailed"
            return -1
        return number

    winners = [number for number in await asyncio.gather(*(claim(number) for number in range(20))) if number >= 0]
    assert len(winners) == 1
    assert (await client.send("GET", "lock"))[1] == b"%d" % winners[0]


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(store, 1, "full")
    await client.send("PUT", "")
    await client.send("PUT", "before", body=b"before")

    write = os.write

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_here(handle: int, content: bytes) -> int:
        """Threads that other tests left behind write elsewhere."""
        return full() if Path(f"/proc/self/fd/{handle}").readlink().is_relative_to(tmp_path) else write(handle, content)

    monkeypatch.setattr(os, "write", full_here)
    with pytest.raises(Fault, match="disk of the object store is full") as caught:
        await client.send("PUT", "before", body=b"x" * 1000)
    assert caught.value.code == "ServiceUnavailable"
    monkeypatch.undo()
    store.change(full).exception()  # the ledger goes on as well
    assert (await client.send("GET", "before"))[1] == b"before"

    def no_room(index: apsw.Connection) -> None:
        raise apsw.FullError

    with pytest.raises(Fault, match="disk of the object store is full"):
        await Call(store, CALLER, HttpRequest("PUT", "/", "", {}, client.chunks(b"")), "PutObject", "", "", {}).change(no_room)


async def test_a_body_that_is_gone_is_a_failure_and_no_short_answer(tmp_path: Path, store: ObjectStore) -> None:
    client = Client(store, 1, "lost")
    await client.send("PUT", "")
    await client.send("PUT", "k", body=b"x" * 2_000_000)
    [body] = body_files(tmp_path)
    body.write_bytes(b"x" * 10)
    with pytest.raises(OSError, match="shorter than the index says"):
        await client.send("GET", "k")
    body.unlink()
    with pytest.raises(FileNotFoundError):
        await client.send("GET", "k")


async def test_a_client_that_leaves_lets_go_of_the_object(tmp_path: Path, store: ObjectStore) -> None:
    client = Client(store, 1, "left")
    await client.send("PUT", "")
    await client.send("PUT", "k", body=b"x" * 3_000_000)
    for reads in (0, 1, 2):
        response = await handle(client.desk, CALLER, HttpRequest("GET", "/bucket/k", "", {}, client.chunks(b"")))
        for _ in range(reads):
            await anext(response.body)
        await response.body.aclose()
        del response
    await client.send("DELETE", "k")
    deadline = time.monotonic() + 60
    while body_files(tmp_path):
        assert time.monotonic() < deadline, "the body of a deleted object is held for a client that is gone"
        await asyncio.sleep(0.05)
