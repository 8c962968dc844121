"""Listing a bucket: keys and common prefixes in the order of their UTF-8 bytes, a page at a time.

A page costs in proportion to what it returns: where a delimiter folds keys into a common prefix, the search jumps behind
that prefix instead of reading through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from heapq import merge

import apsw

from .objects_records import Bucket, ObjectRecord
from .objects_versions import OBJECT_COLUMNS, VERSION_COLUMNS, Row, record_of

LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the objects and the common prefixes on it, whether more follows, and the last name on it (key or prefix)."""

    objects: list[ObjectRecord]
    common_prefixes: list[str]
    truncated: bool
    last: str


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of versions and delete markers, by key and then from the newest on; `last_key` and `last_version` are where the next
    one starts."""

    versions: list[ObjectRecord]
    common_prefixes: list[str]
    truncated: bool
    last_key: str
    last_version: str


Bounds = tuple[str, bool, str | None, int]
"""(lowest key, whether it is inside, the key to stop before, how many at most)."""
Source = Callable[[Bounds], Iterator[Row]]

_LATEST = ("object", OBJECT_COLUMNS, "key")
_OLDER = ("version", VERSION_COLUMNS, "key, place DESC")


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

    for name, row in _names(partial(_rows, index, bucket.id, _LATEST), prefix, delimiter, (after, False), limit + 1):
        if len(objects) + len(folded) == limit:
            return Page(objects, folded, True, last)
        last = name
        if row is None:
            folded.append(name)
        else:
            objects.append(record_of(bucket, row))
    return Page(objects, folded, False, last)


def list_versions(
    index: apsw.Connection, bucket: Bucket, prefix: str, delimiter: str, after: str, behind: int | None, limit: int
) -> VersionPage:
    """The first `limit` versions (or common prefixes) of keys beyond `after`; with `behind`, also those of `after` itself whose
    place is lower."""
    versions: list[ObjectRecord] = []
    folded: list[str] = []
    last_key, last_version = "", ""
    if limit <= 0:
        return VersionPage([], [], False, "", "")

    floor = None if behind is None else (after, behind)

    def rows(bounds: Bounds) -> Iterator[Row]:
        latest, older = _rows(index, bucket.id, _LATEST, bounds, floor), _rows(index, bucket.id, _OLDER, bounds, floor)
        return merge(latest, older, key=lambda row: (row[0], -row[1]))

    for name, row in _names(rows, prefix, delimiter, (after, behind is not None), limit + 1):
        if len(versions) + len(folded) == limit:
            return VersionPage(versions, folded, True, last_key, last_version)
        if row is None:
            folded.append(name)
            last_key, last_version = name, ""
        else:
            versions.append(record_of(bucket, row))
            last_key, last_version = name, versions[-1].version or "null"
    return VersionPage(versions, folded, False, last_key, last_version)


def _names(rows: Source, prefix: str, delimiter: str, start: tuple[str, bool], batch: int) -> Iterator[tuple[str, Row | None]]:
    """Every name in order from `start` (a key, and whether it is itself inside): a key with its row, or a common prefix with None."""
    after, inclusive = start
    low = after
    if after < prefix:
        low, inclusive = prefix, True
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
        for row in rows((low, inclusive, high, batch)):
            common = _fold(row[0], prefix, delimiter) if delimiter else None
            if common is not None:
                yield common, None
                jump = successor(common)
                if jump is None:
                    return
                break
            yield row[0], row
            batch -= 1
        if jump is None:
            return
        low, inclusive = jump, True


def _rows(
    index: apsw.Connection, bucket: int, table: tuple[str, str, str], bounds: Bounds, floor: tuple[str, int] | None = None
) -> Iterator[Row]:
    """Rows of a `table` (name, columns, order) within the bounds; of the key in `floor`, those with a lower place."""
    name, columns, order = table
    low, inclusive, high, limit = bounds
    values: list[str | int] = [bucket, low]
    conditions = f"bucket = ? AND key {'>=' if inclusive else '>'} ?"
    if high is not None:
        conditions += " AND key < ?"
        values.append(high)
    if floor is not None:
        conditions += " AND (key <> ? OR place < ?)"
        values += floor
    return iter(index.execute(f"SELECT {columns} FROM {name} WHERE {conditions} ORDER BY {order} LIMIT ?", (*values, limit)))


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
