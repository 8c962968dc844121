"""Streams a body to whoever stores it, while everything that the client said of it is checked: length, hash, checksums."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import AsyncIterator

from batchyard.model.fault import Fault
from batchyard.wire.awschunked import ChunkedBody
from batchyard.wire.checksums import ALGORITHMS, SIZES, Checksum
from batchyard.wire.http import HttpRequest
from batchyard.wire.sigv4 import UNSIGNED_PAYLOAD, Verified

PREFIX = "x-amz-checksum-"
# What begins like a checksum but describes one.
_NOT_CHECKSUMS = ("algorithm", "type", "mode")
_KNOWN = (*ALGORITHMS, "xxhash64", "xxhash3", "xxhash128")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def open_body(request: HttpRequest, verified: Verified | None) -> AsyncIterator[bytes]:
    """The bytes of the body without framing, to put in `request.body`'s place. With `verified` None no signature is checked.

    What is refused at once raises here; a wrong length, chunk signature, hash or checksum raises from the iterator, at the
    latest at its end. After the end `request.trailers` holds the trailers, and every checksum in them or in the headers was
    found right. Raises `Fault`.
    """
    stated = verified.payload if verified is not None else request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
    framing = None
    if stated.startswith("STREAMING-"):
        framing = ChunkedBody(stated, verified)
    elif stated != UNSIGNED_PAYLOAD and not _SHA256.fullmatch(stated):
        raise Fault(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256 value.",
        )
    wanted_sha256 = stated if _SHA256.fullmatch(stated) else None
    # The body is taken here and now: the caller puts what we return in its place.
    return _checked(request, request.body, framing, _expected_length(request, framing), wanted_sha256, _Expected(request))


async def _checked(
    request: HttpRequest,
    received_body: AsyncIterator[bytes],
    framing: ChunkedBody | None,
    length: int | None,
    sha256: str | None,
    expected: _Expected,
) -> AsyncIterator[bytes]:
    received = 0
    hash_of_all = hashlib.sha256() if sha256 is not None else None
    async for raw in received_body:
        for piece in (raw,) if framing is None else framing.feed(raw):
            received += len(piece)
            if length is not None and received > length:
                raise _incomplete(received, length)
            if hash_of_all is not None:
                hash_of_all.update(piece)
            expected.update(piece)
            yield piece
    if framing is not None:
        framing.finish()
        request.trailers.update(framing.trailers)
    if length is not None and received != length:
        raise _incomplete(received, length)
    if hash_of_all is not None and sha256 is not None and not hmac.compare_digest(hash_of_all.hexdigest(), sha256):
        raise Fault(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ClientComputedContentSHA256=sha256,
            S3ComputedContentSHA256=hash_of_all.hexdigest(),
        )
    expected.require(request.trailers)


def _expected_length(request: HttpRequest, framing: ChunkedBody | None) -> int | None:
    name = "content-length" if framing is None else "x-amz-decoded-content-length"
    text = request.headers.get(name)
    if text is None:
        if framing is not None:
            raise Fault("MissingContentLength", f"You must provide the {name} HTTP header.")
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Fault("InvalidArgument", f"The header {name} must be a number of bytes, not {text[:32]!r}.")
    return int(text)


def _incomplete(received: int, length: int) -> Fault:
    return Fault(
        "IncompleteBody",
        f"The request body did not have the length that its headers state: {length} bytes were announced, {received} came.",
    )


class _Expected:
    """The checksums that a request announces, running along with its body."""

    def __init__(self, request: HttpRequest) -> None:
        headers = request.headers
        self._stated: dict[str, str] = {}
        self._running: dict[str, Checksum] = {}
        # On CompleteMultipartUpload the checksum is that of the object to be, not of the body.
        is_completion = request.method == "POST" and "uploadId=" in request.raw_query
        if request.method in ("PUT", "POST") and not is_completion:
            self._stated = {name: text for name, text in headers.items() if _algorithm_of(name)}
        announced = [name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",")]
        names = [*self._stated, *(name for name in announced if _algorithm_of(name))]
        if len(set(names)) > 1:
            raise Fault("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
        for name in names:
            self._running[name] = _maker(name)
        self._md5 = _content_md5(headers.get("content-md5"))
        if self._md5 is not None:
            self._running["content-md5"] = ALGORITHMS["md5"]()
        for name, text in self._stated.items():
            _decoded(name, text)

    def update(self, piece: bytes) -> None:
        """Takes more of the body."""
        for checksum in self._running.values():
            checksum.update(piece)

    def require(self, trailers: dict[str, str]) -> None:
        """Raises `BadDigest` unless all that was stated, in headers or trailers, is so."""
        md5 = self._running.pop("content-md5", None)
        if md5 is not None and md5.digest() != self._md5:
            raise Fault("BadDigest", "The Content-MD5 you specified did not match what we received.")
        for name in trailers:
            if _algorithm_of(name) and name not in self._running:
                raise Fault("InvalidRequest", f"The trailer {name} was not announced in the header x-amz-trailer.")
        for name, checksum in self._running.items():
            text = trailers.get(name, self._stated.get(name))
            if text is None:
                raise Fault("InvalidRequest", f"The trailer {name}, announced in x-amz-trailer, did not come.")
            if not hmac.compare_digest(_decoded(name, text), checksum.digest()):
                shown = name.removeprefix(PREFIX).upper()
                raise Fault("BadDigest", f"The {shown} you specified did not match the calculated checksum.")


def _algorithm_of(name: str) -> str | None:
    """The algorithm that a header or trailer carries a checksum of."""
    if not name.startswith(PREFIX) or name[len(PREFIX) :] in _NOT_CHECKSUMS:
        return None
    return name[len(PREFIX) :]


def _maker(name: str) -> Checksum:
    algorithm = name.removeprefix(PREFIX)
    make = ALGORITHMS.get(algorithm)
    if make is None:
        can = ", ".join(known.upper() for known in ALGORITHMS)
        why = "is not available here" if algorithm in _KNOWN else "is not known"
        raise Fault("InvalidRequest", f"The checksum algorithm {algorithm[:32].upper()} {why}. Use one of {can}.")
    return make()


def _decoded(name: str, text: str) -> bytes:
    try:
        checksum = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        checksum = b""
    if len(checksum) != SIZES[name.removeprefix(PREFIX)]:
        raise Fault("InvalidRequest", f"Value for {name} header is invalid.")
    return checksum


def _content_md5(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise Fault("InvalidDigest", "The Content-MD5 you specified was invalid.")
    return digest
