"""What a request's headers promise about its bytes: an MD5, a checksum, or a checksum that follows as a trailer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from batchyard.model.fault import Fault
from batchyard.services.s3.route import not_implemented
from batchyard.store.objects_checksums import ALGORITHMS, UNSERVED_ALGORITHMS, in_base64, is_well_formed, new_checksum

CHECKSUM_PREFIX = "x-amz-checksum-"
_NOT_ALGORITHMS = frozenset(("mode", "type", "algorithm"))


@dataclass(frozen=True, slots=True)
class Promise:
    """`md5` in hexadecimal, `checksum` of `algorithm` in base64, and `trailer`, the algorithm whose checksum follows the body (the
    door checks that one). Empty where nothing is promised."""

    md5: str = ""
    algorithm: str = ""
    checksum: str = ""
    trailer: str = ""

    def check(self, md5: str, checksums: Mapping[str, str]) -> None:
        """Raises `BadDigest` unless the bytes have these."""
        if self.md5 and self.md5 != md5:
            raise Fault("BadDigest", "The Content-MD5 you specified did not match what we received.")
        if self.algorithm and self.checksum != checksums[self.algorithm]:
            raise Fault("BadDigest", f"The {self.algorithm} you specified did not match the calculated checksum.")

    def check_document(self, text: bytes | bytearray) -> None:
        """Raises `BadDigest` unless `text` is what was promised."""
        wanted = {"MD5", self.algorithm} - {""}
        found = {name: new_checksum(name) for name in wanted}
        for checksum in found.values():
            checksum.update(bytes(text))
        self.check(found["MD5"].digest().hex(), {name: in_base64(checksum) for name, checksum in found.items()})


def promise_of(headers: Mapping[str, str]) -> Promise:
    """What the request promises about its body. Raises `InvalidDigest` or `InvalidRequest` when that cannot be read."""
    named = [
        (name.removeprefix(CHECKSUM_PREFIX).upper(), value)
        for name, value in headers.items()
        if name.startswith(CHECKSUM_PREFIX) and name.removeprefix(CHECKSUM_PREFIX) not in _NOT_ALGORITHMS
    ]
    trailers = [name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",")]
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
    return Promise(_promised_md5(headers.get("content-md5", "")), algorithm, checksum, trailing[0] if trailing else "")


def check_algorithm(algorithm: str) -> None:
    """Raises `NotImplemented` for a checksum algorithm that is not served, `InvalidRequest` for one that S3 does not know."""
    if algorithm in UNSERVED_ALGORITHMS:
        raise not_implemented(f"checksum algorithm {algorithm}")
    if algorithm not in ALGORITHMS:
        raise Fault("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types")


def _promised_md5(text: str) -> str:
    if not text:
        return ""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 16:
        raise Fault("InvalidDigest", "The Content-MD5 you specified was invalid.")
    return digest.hex()
