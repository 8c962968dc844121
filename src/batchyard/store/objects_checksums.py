"""The checksums that S3 keeps of objects: computed as the bytes pass, combined when parts become one object."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from typing import Protocol

from . import objects_crc as crc

# what S3 allows for an object of parts: a checksum of the checksums of the parts, or of all bytes
COMPOSITE_ALGORITHMS = frozenset({"CRC32", "CRC32C", "SHA1", "SHA256", "SHA512", "MD5"})
FULL_OBJECT_ALGORITHMS = frozenset({"CRC32", "CRC32C", "CRC64NVME"})
ALGORITHMS = COMPOSITE_ALGORITHMS | FULL_OBJECT_ALGORITHMS
# algorithms of the S3 model that are not served: they need code that the standard library lacks
UNSERVED_ALGORITHMS = frozenset({"XXHASH64", "XXHASH3", "XXHASH128"})

_HASHES = {"MD5": "md5", "SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
_LENGTHS = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "MD5": 16, "SHA1": 20, "SHA256": 32, "SHA512": 64}


class Digest(Protocol):
    """A checksum in the making."""

    def update(self, chunk: bytes) -> None:
        """Take in `chunk`."""

    def hex(self) -> str:
        """The checksum so far, in hexadecimal."""

    def base64(self) -> str:
        """The checksum so far, in base64, as S3's headers carry it."""


class _Hash:
    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        self._hash.update(chunk)

    def hex(self) -> str:
        return self._hash.hexdigest()

    def base64(self) -> str:
        return base64.b64encode(self._hash.digest()).decode()


class _Crc:
    def __init__(self, name: str) -> None:
        self._name = name
        self._value = 0

    def update(self, chunk: bytes) -> None:
        if self._name == "CRC32":
            self._value = zlib.crc32(chunk, self._value)
        else:
            self._value = crc.update(self._name, self._value, chunk)

    def hex(self) -> str:
        return self._value.to_bytes(_LENGTHS[self._name], "big").hex()

    def base64(self) -> str:
        return base64.b64encode(self._value.to_bytes(_LENGTHS[self._name], "big")).decode()


def new_digest(algorithm: str) -> Digest:
    """A fresh digest of `algorithm` (one of `ALGORITHMS`)."""
    if algorithm in _HASHES:
        return _Hash(_HASHES[algorithm])
    return _Crc(algorithm)


def is_well_formed(algorithm: str, value: str) -> bool:
    """Whether `value` is base64 of as many bytes as `algorithm` yields."""
    try:
        return len(base64.b64decode(value, validate=True)) == _LENGTHS[algorithm]
    except ValueError:
        return False


def composite(algorithm: str, parts: Sequence[str]) -> str:
    """S3's COMPOSITE checksum of an object of parts: the checksum of the parts' checksums (base64), and `-` their number."""
    digest = new_digest(algorithm)
    for part in parts:
        digest.update(base64.b64decode(part))
    return f"{digest.base64()}-{len(parts)}"


def full_object(algorithm: str, parts: Sequence[tuple[str, int]]) -> str:
    """The CRC of the whole from the CRCs (base64) and the sizes in bytes of its parts, without a look at the bytes."""
    value = 0
    for text, size in parts:
        value = crc.combine(algorithm, value, int.from_bytes(base64.b64decode(text), "big"), size)
    return base64.b64encode(value.to_bytes(_LENGTHS[algorithm], "big")).decode()


def etag_of_parts(parts: Sequence[str]) -> str:
    """The ETag of an object of parts from the parts' MD5s in hexadecimal: the MD5 of the MD5s, and `-` their number."""
    whole = hashlib.md5(b"".join(bytes.fromhex(part) for part in parts), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(parts)}"
