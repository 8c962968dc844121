"""The checksums that S3 keeps of objects: computed as the bytes pass, combined when parts become one object."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from batchyard.wire import checksums
from batchyard.wire.checksums import Checksum

from . import objects_crc as crc

# what S3 allows for an object of parts: a checksum of the checksums of the parts, or of all bytes
COMPOSITE_ALGORITHMS = frozenset({"CRC32", "CRC32C", "SHA1", "SHA256", "SHA512", "MD5"})
FULL_OBJECT_ALGORITHMS = frozenset({"CRC32", "CRC32C", "CRC64NVME"})
ALGORITHMS = COMPOSITE_ALGORITHMS | FULL_OBJECT_ALGORITHMS
# algorithms of the S3 model that are not served: they need code that Python lacks
UNSERVED_ALGORITHMS = frozenset({"XXHASH64", "XXHASH3", "XXHASH128"})


def new_checksum(algorithm: str) -> Checksum:
    """A fresh checksum of `algorithm` (one of `ALGORITHMS`)."""
    return checksums.ALGORITHMS[algorithm.lower()]()


def in_base64(checksum: Checksum) -> str:
    """The checksum so far, as S3's headers carry it."""
    return base64.b64encode(checksum.digest()).decode()


def composite(algorithm: str, parts: Sequence[str]) -> str:
    """S3's COMPOSITE checksum of an object of parts: the checksum of the parts' checksums (base64), and `-` their number."""
    whole = new_checksum(algorithm)
    for part in parts:
        whole.update(base64.b64decode(part))
    return f"{in_base64(whole)}-{len(parts)}"


def full_object(algorithm: str, parts: Sequence[tuple[str, int]]) -> str:
    """The CRC of the whole from the CRCs (base64) and the sizes in bytes of its parts, without a look at the bytes."""
    value = 0
    for text, size in parts:
        value = crc.combine(algorithm, value, int.from_bytes(base64.b64decode(text), "big"), size)
    return base64.b64encode(value.to_bytes(checksums.SIZES[algorithm.lower()], "big")).decode()


def etag_of_parts(parts: Sequence[str]) -> str:
    """The ETag of an object of parts from the parts' MD5s in hexadecimal: the MD5 of the MD5s, and `-` their number."""
    whole = hashlib.md5(b"".join(bytes.fromhex(part) for part in parts), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(parts)}"
