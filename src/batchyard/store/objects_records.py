"""What the object store keeps of buckets, objects and uploads, as the code above it sees them."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; names are unique per server, `account` owns it. `versioning` is "" (never on), "Enabled" or "Suspended"."""

    id: int
    name: str
    account: str
    region: str
    created_at_ms: int
    versioning: str = ""


class Traits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What travels with an object besides its bytes.

    `headers`: the content headers by lower-case name; `metadata`: the user's own, without `x-amz-meta-`; `checksums`: algorithm
    -> base64 (and `-N` when composite); `parts`: how many parts a multipart upload had, 0 for any other object; `recorded`:
    request headers that are kept and given back but have no effect here; `grants`: (grantee, permission) of the access control list
    besides the owner's full control.
    """

    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    checksums: dict[str, str] = {}
    checksum_type: str = ""
    storage_class: str = "STANDARD"
    parts: int = 0
    recorded: dict[str, str] = {}
    grants: list[tuple[str, str]] = []


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of an object or of an upload: `size` bytes in the file of `body` (0: no bytes, no file)."""

    number: int
    body: int
    size: int
    etag: str
    modified_at_ms: int
    checksums: dict[str, str]


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """A version of an object: `etag` is bare (no quotes), `manifest` names this very content and never comes back.

    `version` is its id, "" the null version. `place` counts the versions of a key upwards. Of a version that is not the latest,
    `superseded_at_ms` is when the next one came. A delete marker has no content and manifest 0.
    """

    manifest: int
    bucket: Bucket
    key: str
    size: int
    etag: str
    modified_at_ms: int
    traits: Traits
    version: str = ""
    place: int = 0
    is_marker: bool = False
    superseded_at_ms: int = 0

    @property
    def is_latest(self) -> bool:
        """Whether this is what the key shows now."""
        return not self.superseded_at_ms


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload in progress. The traits' `checksums` has one key, the algorithm that was announced, or none."""

    manifest: int
    id: str
    bucket: Bucket
    key: str
    initiated_at_ms: int
    traits: Traits

    @property
    def algorithm(self) -> str:
        """The checksum algorithm that the upload was created with; empty when none was named."""
        return next(iter(self.traits.checksums), "")


_traits_decoder = msgspec.json.Decoder(Traits)
_checksums_decoder = msgspec.json.Decoder(dict[str, str])


def pack_traits(traits: Traits) -> bytes:
    """The traits as they lie in the index."""
    return msgspec.json.encode(traits)


def unpack_traits(packed: bytes) -> Traits:
    """The traits from the index."""
    return _traits_decoder.decode(packed)


def pack_checksums(checksums: dict[str, str]) -> str:
    """A piece's checksums as they lie in the index."""
    return msgspec.json.encode(checksums).decode() if checksums else ""


def unpack_checksums(packed: str) -> dict[str, str]:
    """A piece's checksums from the index."""
    return _checksums_decoder.decode(packed) if packed else {}
