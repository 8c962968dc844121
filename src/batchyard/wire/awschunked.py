"""The framing that S3 clients put around a body they sign or checksum as they send it (`Content-Encoding: aws-chunked`).

    size in hex [;chunk-signature=64 hex digits] CRLF   bytes   CRLF      ... repeated, then
    0 [;chunk-signature=...] CRLF  name:value CRLF ...  [x-amz-trailer-signature:...] CRLF

No I/O here: bytes in, bytes without framing out, faults when a signature or length is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator

from batchyard.model.fault import Fault
from batchyard.wire.sigv4 import EMPTY_SHA256, Verified

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

_MAX_LINE = 4096
_MAX_TRAILERS = 32
_HEAD = re.compile(rb"([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?")


class ChunkedBody:
    """Takes a body apart. `signed_by` is None when signatures are not to be checked (unsigned mode, or no identity at all)."""

    def __init__(self, mode: str, signed_by: Verified | None) -> None:
        if mode not in (SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER):
            raise Fault(
                "InvalidRequest",
                f"The value of x-amz-content-sha256 is not supported: {mode[:64]}. Send a SHA-256, UNSIGNED-PAYLOAD, "
                f"{SIGNED}, {SIGNED_TRAILER} or {UNSIGNED_TRAILER}.",
            )
        self._mode = mode
        self._signer = signed_by if mode != UNSIGNED_TRAILER else None
        self._previous = signed_by.signature if signed_by is not None else ""
        self._held = bytearray()
        self._left = -1  # bytes of the current chunk still to come; -1: a chunk head is next, -2: trailers, -3: the end
        self._signature = b""
        self._hash = hashlib.sha256()
        self._signed_trailers = bytearray()
        self.trailers: dict[str, str] = {}

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The bytes of the object in `received`, as far as it goes."""
        if self._left > 0 and not self._held:
            # The common case, in the middle of a long chunk: no copy.
            taken, received = received[: self._left], received[self._left :]
            yield self._taken(taken)
        self._held += received
        while self._held and self._left != -3:
            if self._left > 0:
                taken = bytes(self._held[: self._left])
                del self._held[: len(taken)]
                yield self._taken(taken)
            elif self._left == 0:
                if not self._end_chunk():
                    return
            else:
                line = self._line()
                if line is None:
                    return
                self._read_head(line) if self._left == -1 else self._read_trailer(line)
        if self._held:
            raise _malformed("bytes follow the last chunk")

    def finish(self) -> None:
        """Says that nothing more comes. Raises a `Fault` when something should have."""
        if self._left == -2 and not self._held and self._mode == SIGNED:
            self._end_trailers()  # some clients leave out the empty line at the very end
        if self._left != -3:
            raise Fault("IncompleteBody", "The request body terminated unexpectedly: the last chunk of its aws-chunked framing is missing")

    def _taken(self, taken: bytes) -> bytes:
        self._left -= len(taken)
        if self._signer is not None:
            self._hash.update(taken)
        return taken

    def _line(self) -> bytes | None:
        """The next line without its end, or None until it is whole."""
        end = self._held.find(b"\n", 0, _MAX_LINE)
        if end < 0:
            if len(self._held) >= _MAX_LINE:
                raise _malformed("a chunk head or trailer is too long")
            return None
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line.removesuffix(b"\r")

    def _read_head(self, line: bytes) -> None:
        head = _HEAD.fullmatch(line.strip())
        if head is None:
            raise _malformed(f"{line[:40]!r} is not the head of a chunk")
        if (head[2] is None) == (self._mode != UNSIGNED_TRAILER):
            raise _malformed("a chunk carries a signature only in the signed modes, and there it must")
        self._signature = head[2] or b""
        self._left = int(head[1], 16)
        self._hash = hashlib.sha256()
        if self._left == 0:
            self._check_chunk(EMPTY_SHA256)
            self._left = -2

    def _end_chunk(self) -> bool:
        """After the bytes of a chunk: its line end and its signature. False until both bytes are there."""
        if len(self._held) < 2 and not self._held.startswith(b"\n"):
            return False
        if self._held.startswith(b"\r\n"):
            del self._held[:2]
        elif self._held.startswith(b"\n"):
            del self._held[:1]
        else:
            raise _malformed("a chunk is longer than its head says")
        self._check_chunk(self._hash.hexdigest())
        self._left = -1
        return True

    def _check_chunk(self, chunk_hash: str) -> None:
        if self._signer is None:
            return
        wanted = self._signer.chunk_signature("PAYLOAD", self._previous, EMPTY_SHA256, chunk_hash)
        if not hmac.compare_digest(wanted.encode(), self._signature):
            raise _wrong_signature()
        self._previous = wanted

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self._end_trailers()
            return
        name, colon, value = line.partition(b":")
        key = name.strip().lower().decode("latin-1")
        is_extra = key in self.trailers or len(self.trailers) >= _MAX_TRAILERS or self._mode == SIGNED
        if not colon or is_extra:
            raise _malformed(f"{line[:40]!r} is not an expected trailer")
        self.trailers[key] = value.strip().decode("latin-1")
        if key != "x-amz-trailer-signature":
            self._signed_trailers += key.encode("latin-1") + b":" + value.strip() + b"\n"

    def _end_trailers(self) -> None:
        if self._mode == SIGNED_TRAILER and self._signer is not None:
            trailer_hash = hashlib.sha256(self._signed_trailers).hexdigest()
            wanted = self._signer.chunk_signature("TRAILER", self._previous, trailer_hash)
            given = self.trailers.get("x-amz-trailer-signature", "")
            if not hmac.compare_digest(wanted.encode(), given.encode("latin-1")):
                raise _wrong_signature()
        self.trailers.pop("x-amz-trailer-signature", None)
        self._left = -3


def _wrong_signature() -> Fault:
    return Fault(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    )


def _malformed(reason: str) -> Fault:
    return Fault("InvalidRequest", f"The aws-chunked framing of the body is malformed: {reason}.")
