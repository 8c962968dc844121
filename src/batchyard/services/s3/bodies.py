"""Takes in the bytes of an upload and gives out those of an object, in pieces, with all hashing and disk work off the event loop."""

from __future__ import annotations

import asyncio
import base64
import errno
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import apsw

from batchyard.model.fault import Fault
from batchyard.services.s3.call import Call
from batchyard.services.s3.route import not_implemented
from batchyard.store.objects_bodies import BodyWriter, WrittenBody
from batchyard.store.objects_checksums import ALGORITHMS, UNSERVED_ALGORITHMS, is_well_formed
from batchyard.store.objects_reader import ObjectReader

Answer = TypeVar("Answer")

CHUNK_BYTES = 256 * 1024  # what one trip to a disk thread carries; two of them are in memory per upload
READ_BYTES = 512 * 1024
UPLOAD_LIMIT_BYTES = 5 * 1024**3  # of one PutObject or UploadPart, as on AWS
CHECKSUM_PREFIX = "x-amz-checksum-"
_NOT_ALGORITHMS = frozenset(("mode", "type", "algorithm"))


@dataclass(frozen=True, slots=True)
class Promise:
    """What the headers promise about the bytes: their MD5 in hexadecimal, a checksum in base64, and the algorithm that follows
    behind the body as a trailer (which the door checks). Empty where nothing is promised."""

    md5: str = ""
    algorithm: str = ""
    checksum: str = ""
    trailer: str = ""


def promise_of(call: Call) -> Promise:
    """What the request promises about its body. Raises `InvalidDigest` or `InvalidRequest` when that cannot be read."""
    named = [
        (name.removeprefix(CHECKSUM_PREFIX).upper(), value)
        for name, value in call.request.headers.items()
        if name.startswith(CHECKSUM_PREFIX) and name.removeprefix(CHECKSUM_PREFIX) not in _NOT_ALGORITHMS
    ]
    trailers = [name.strip().lower() for name in call.header("x-amz-trailer").split(",")]
    trailing = [name.removeprefix(CHECKSUM_PREFIX).upper() for name in trailers if name.startswith(CHECKSUM_PREFIX)]
    if len(named) + len(trailing) > 1:
        raise Fault("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    for algorithm, value in named:
        check_algorithm(algorithm)
        if not is_well_formed(algorithm, value):
            raise Fault("InvalidRequest", f"Value for {CHECKSUM_PREFIX}{algorithm.lower()} header is invalid.")
    for algorithm in trailing:
        check_algorithm(algorithm)
    algorithm, checksum = named[0] if named else ("", "")
    return Promise(_promised_md5(call), algorithm, checksum, trailing[0] if trailing else "")


def check_algorithm(algorithm: str) -> None:
    """Raises `NotImplemented` for a checksum algorithm that is not served, `InvalidRequest` for one that S3 does not know."""
    if algorithm in UNSERVED_ALGORITHMS:
        raise not_implemented(f"checksum algorithm {algorithm}")
    if algorithm not in ALGORITHMS:
        raise Fault("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types")


async def receive(call: Call, promise: Promise, also: str = "") -> tuple[BodyWriter, WrittenBody]:
    """Write the body of the request to the disk and check what was promised of it.

    Gives the writer (to abandon, should nothing come to refer to the body) and what was written, with the checksums that were
    promised and that of the algorithm `also`. Nothing stays on the disk when it raises: `BadDigest`, `EntityTooLarge`, or
    whatever the body itself raises.
    """
    wanted = {name for name in (promise.algorithm, also) if name and name != promise.trailer}
    writer = await call.work(call.store.new_body, wanted)
    try:
        await _write(call, writer)
        written = await call.work(writer.finish)
        written = _kept(call, promise, written)
    except OSError as failure:
        call.store.work(writer.abandon)
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Fault("ServiceUnavailable", "The disk of the object store is full: free some space and try again.") from failure
        raise
    except BaseException:
        call.store.work(writer.abandon)
        raise
    return writer, written


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


def _kept(call: Call, promise: Promise, written: WrittenBody) -> WrittenBody:
    """What was written, with all its checksums. Raises `BadDigest` unless it is what was promised."""
    if promise.md5 and promise.md5 != written.md5:
        raise Fault("BadDigest", "The Content-MD5 you specified did not match what we received.")
    if promise.algorithm and promise.checksum != written.checksums[promise.algorithm]:
        raise Fault("BadDigest", f"The {promise.algorithm} you specified did not match the calculated checksum.")
    checksums = dict(written.checksums)
    if promise.trailer:
        checksums[promise.trailer] = call.request.trailers[f"{CHECKSUM_PREFIX}{promise.trailer.lower()}"]
    return WrittenBody(written.body, written.size, written.md5, checksums)


def _promised_md5(call: Call) -> str:
    text = call.header("content-md5")
    if not text:
        return ""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 16:
        raise Fault("InvalidDigest", "The Content-MD5 you specified was invalid.")
    return digest.hex()
