"""Takes in the bytes of an upload and gives out those of an object, in pieces, with all hashing and disk work off the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

import apsw

from batchyard.model.fault import Fault
from batchyard.services.s3.call import Call, disk_full
from batchyard.services.s3.checksums import Announced
from batchyard.store.objects_bodies import BodyWriter, WrittenBody
from batchyard.store.objects_reader import ObjectReader
from batchyard.store.opening import is_for_want_of_room

Answer = TypeVar("Answer")

CHUNK_BYTES = 256 * 1024  # what one trip to a disk thread carries; two of them are in memory per upload
READ_BYTES = 512 * 1024
UPLOAD_LIMIT_BYTES = 5 * 1024**3  # of one PutObject or UploadPart, as on AWS


async def receive(call: Call, checksum: Announced, also: str = "") -> tuple[BodyWriter, WrittenBody]:
    """Write the body of the request to the disk.

    Gives the writer (to abandon, should nothing come to refer to the body) and what was written, with the checksum that the
    request brought and that of the algorithm `also`. Nothing stays on the disk when it raises: `EntityTooLarge`, or whatever the
    body itself raises, such as `BadDigest`.
    """
    intake = _Intake(call, {also} - {"", checksum.algorithm})
    try:
        async for chunk in call.request.body:
            await intake.take(chunk)
        if call.notes is not None:
            call.notes.body_ended_s = time.perf_counter()
        writer, written = await intake.finish()
        if call.notes is not None:
            call.notes.size = written.size
        return writer, replace(written, checksums=written.checksums | checksum.value(call.request))
    except BaseException as failure:
        intake.abandon()
        if is_for_want_of_room(failure):
            raise disk_full() from failure
        raise


async def refer(call: Call, writer: BodyWriter, change: Callable[[apsw.Connection], Answer]) -> Answer:
    """Run the change that makes the index refer to the written body; when it is refused, or finds no room, the body goes."""
    future = call.store.change(change)

    def clean_up(done: Future[Answer]) -> None:
        failure = None if done.cancelled() else done.exception()
        if done.cancelled() or isinstance(failure, Fault) or (failure is not None and is_for_want_of_room(failure)):
            call.store.work(writer.abandon)

    future.add_done_callback(clean_up)
    return await call.settled(future)


async def stream(call: Call, reader: ObjectReader, first: bytes, offset: int, size: int) -> AsyncIterator[bytes]:
    """`first`, then the `size` bytes at `offset`, read ahead by one chunk; closes the reader at the end, however that comes."""
    chunk = first
    try:
        while chunk:
            length = min(READ_BYTES, size)
            upcoming = asyncio.wrap_future(call.store.work(reader.read, offset, length))
            yield chunk
            chunk = await upcoming
            offset, size = offset + length, size - length
    finally:
        call.store.work(reader.close)


class _Intake:
    """Gathers small chunks into large ones and has them written while the next are on their way. A body of less than one large
    chunk takes a single trip to a disk thread."""

    def __init__(self, call: Call, algorithms: set[str]) -> None:
        self._call = call
        self._algorithms = algorithms
        self._writer: BodyWriter | None = None
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._total_bytes = 0
        self._under_way: asyncio.Future[BodyWriter] | None = None
        self._lock = threading.Lock()  # between `_write` and `_remove`, which may meet when a client goes away
        self._is_over = False

    async def take(self, chunk: bytes) -> None:
        """More of the body. Waits while what came before is still being written. Raises `EntityTooLarge`."""
        self._gathered.append(chunk)
        self._gathered_bytes += len(chunk)
        self._total_bytes += len(chunk)
        if self._total_bytes > UPLOAD_LIMIT_BYTES:
            raise Fault(
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size",
                ProposedSize=str(self._total_bytes),
                MaxSizeAllowed=str(UPLOAD_LIMIT_BYTES),
            )
        if self._gathered_bytes >= CHUNK_BYTES:
            await self._settle()
            self._under_way = asyncio.wrap_future(self._call.store.work(self._write, b"".join(self._gathered)))
            self._gathered, self._gathered_bytes = [], 0

    async def finish(self) -> tuple[BodyWriter, WrittenBody]:
        """The writer, and what lies on the disk for good."""
        await self._settle()
        return await self._call.work(self._write_last, b"".join(self._gathered))

    def abandon(self) -> None:
        """Remove what was written, once the write under way is over."""
        if self._under_way is not None:
            self._under_way.add_done_callback(lambda write: write.cancelled() or write.exception())  # nobody waits for it now
        self._call.store.work(self._remove)

    async def _settle(self) -> None:
        if self._under_way is not None:
            await self._under_way

    def _write(self, chunk: bytes) -> BodyWriter:
        with self._lock:
            if self._is_over:
                raise ValueError("this upload is abandoned")
            if self._writer is None:
                self._writer = self._call.store.new_body(self._algorithms)
        self._writer.write(chunk)
        return self._writer

    def _write_last(self, chunk: bytes) -> tuple[BodyWriter, WrittenBody]:
        writer = self._write(chunk)
        return writer, writer.finish()

    def _remove(self) -> None:
        with self._lock:
            self._is_over = True
        if self._writer is not None:
            self._writer.abandon()
