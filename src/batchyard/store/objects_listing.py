"""Listing a bucket: keys and common prefixes in the order of their UTF-8 bytes, a page at a time.

A page costs in proportion to what it returns: where a delimiter folds keys into a common prefix, the search jumps behind
that prefix instead of reading through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from .objects_records import Bucket, ObjectRecord, unpack_traits

LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the objects and the common prefixes on it, whether more follows, and the last name on it (key or prefix)."""

    objects: list[ObjectRecord]
    common_prefixes: list[str]
    truncated: bool
    last: str


def list_page(index: apsw.Connection, bucket: Bucket, prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """The first `limit` names beyond `after` among the keys that start with `prefix`.

    With a `delimiter`, keys that hold it behind the prefix are folded into the part up to and with it, and each such common
    prefix counts as one name. A common prefix is beyond `after` when it is greater than it as a whole.
    """
    objects: list[ObjectRecord] = []
    folded: list[str] = []
    last = ""
    if limit <= 0:
        return Page([], [], False, "")
    for name, row in _names(index, bucket.id, prefix, delimiter, after, limit + 1):
        if len(objects) + len(folded) == limit:
            return Page(objects, folded, True, last)
        last = name
        if row is None:
            folded.append(name)
        else:
            manifest, size, etag, modified_at_ms, traits = row
            objects.append(ObjectRecord(manifest, bucket, name, size, etag, modified_at_ms, unpack_traits(traits)))
    return Page(objects, folded, False, last)


Row = tuple[int, int, str, int, bytes]


def _names(index: apsw.Connection, bucket: int, prefix: str, delimiter: str, after: str, batch: int) -> Iterator[tuple[str, Row | None]]:
    """Every name in order: a key with its row, or a common prefix with None."""
    low, inclusive = (prefix, True) if after < prefix else (after, False)
    if delimiter and not inclusive:
        within = _fold(after, prefix, delimiter)
        if within is not None:
            beyond = successor(within)
            if beyond is None:
                return
            low, inclusive = beyond, True
    high = successor(prefix)
    while True:
        jump = None
        for key, *row in _rows(index, bucket, low, inclusive, high, batch):
            common = _fold(key, prefix, delimiter) if delimiter else None
            if common is not None:
                yield common, None
                jump = successor(common)
                if jump is None:
                    return
                break
            yield key, tuple(row)  # type: ignore[misc]
            low, inclusive = key, False
            batch -= 1
        if jump is None:
            return
        low, inclusive = jump, True


def _rows(
    index: apsw.Connection, bucket: int, low: str, inclusive: bool, high: str | None, limit: int
) -> Iterator[tuple[str, int, int, str, int, bytes]]:
    query = (
        "SELECT key, manifest, size, etag, modified_at_ms, traits FROM object"
        f" WHERE bucket = ? AND key {'>=' if inclusive else '>'} ?{' AND key < ?' if high is not None else ''} ORDER BY key LIMIT ?"
    )
    bounds = (bucket, low, limit) if high is None else (bucket, low, high, limit)
    return iter(index.execute(query, bounds))


def _fold(key: str, prefix: str, delimiter: str) -> str | None:
    """The common prefix that `key` folds into, or None."""
    if not key.startswith(prefix):
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def successor(prefix: str) -> str | None:
    """The smallest string greater than every string that starts with `prefix`; None when there is no such string."""
    for at in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[at])
        if point < LAST_CODE_POINT:
            following = 0xE000 if point == 0xD7FF else point + 1
            return prefix[:at] + chr(following)
    return None
