"""Takes in the bytes of an upload and gives out those of an object, in pieces, with all hashing and disk work off the event loop."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

import apsw

from batchyard.model.fault import Fault
from batchyard.services.s3.call import Call
from batchyard.services.s3.checksums import Announced
from batchyard.store.objects_bodies import BodyWriter, WrittenBody
from batchyard.store.objects_reader import ObjectReader

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
    writer = await call.work(call.store.new_body, {also} - {"", checksum.algorithm})
    try:
        await _write(call, writer)
        written = await call.work(writer.finish)
        return writer, replace(written, checksums=written.checksums | checksum.value(call.request))
    except OSError as failure:
        call.store.work(writer.abandon)
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Fault("ServiceUnavailable", "The disk of the object store is full: free some space and try again.") from failure
        raise
    except BaseException:
        call.store.work(writer.abandon)
        raise


async def refer(call: Call, writer: BodyWriter, change: Callable[[apsw.Connection], Answer]) -> Answer:
    """Run the change that makes the index refer to the written body; when it is refused, the body goes."""
    future = call.store.change(change)

    def clean_up(done: Future[Answer]) -> None:
        if done.cancelled() or isinstance(done.exception(), Fault):
            call.store.work(writer.abandon)

    future.add_done_callback(clean_up)
    return await asyncio.wrap_future(future)


async def stream(call: Call, reader: ObjectReader, offset: int, size: int) -> AsyncIterator[bytes]:
    """The `size` bytes at `offset`, read ahead by one chunk; closes the reader at the end, however that comes."""
    upcoming: asyncio.Future[bytes] | None = None
    try:
        while size > 0 or upcoming:
            chunk = await upcoming if upcoming else b""
            upcoming = None
            if size > 0:
                length = min(READ_BYTES, size)
                upcoming = asyncio.wrap_future(call.store.work(reader.read, offset, length))
                offset, size = offset + length, size - length
            if chunk:
                yield chunk
    finally:
        call.store.work(reader.close)


async def _write(call: Call, writer: BodyWriter) -> None:
    gathered: list[bytes] = []
    gathered_bytes = total = 0
    under_way: asyncio.Future[None] | None = None
    async for chunk in call.request.body:
        gathered.append(chunk)
        gathered_bytes += len(chunk)
        total += len(chunk)
        if total > UPLOAD_LIMIT_BYTES:
            raise Fault(
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size",
                ProposedSize=str(total),
                MaxSizeAllowed=str(UPLOAD_LIMIT_BYTES),
            )
        if gathered_bytes >= CHUNK_BYTES:
            if under_way:
                await under_way
            under_way = asyncio.wrap_future(call.store.work(writer.write, b"".join(gathered)))
            gathered, gathered_bytes = [], 0
    if under_way:
        await under_way
    await call.work(writer.write, b"".join(gathered))
