"""The order in which the ready jobs of a queue are to start: a sorted set that stays quick with a million members.

Keys are tuples (front, id, child). The lower front goes first: retried jobs, and of a share those of higher priority
(`lanes._front`). Ids are time-ordered, so order by id is order of submission; `child` is -1 for a job of its own and for an
array's parent, which stands for all its children without a record.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Any

Key = tuple[int, str, int]

_CHUNK = 1024


def _all_alike(_key: Key) -> Hashable:
    return None


class Lane:
    """Sorted chunks of at most 2 x 1024 keys; adding and removing cost in proportion to a chunk, not to the lane.

    `sort_of` says of what sort a key is, the same as long as it is in the lane: chunks that hold only sorts that are passed over
    are passed over whole.
    """

    __slots__ = ("_chunks", "_firsts", "_size", "_sort_of", "_sorts")

    def __init__(self, sort_of: Callable[[Key], Hashable] = _all_alike) -> None:
        self._chunks: list[list[Key]] = []
        self._firsts: list[Key] = []
        self._sorts: list[set[Hashable] | None] = []  # of each chunk, maybe more than there are now; None: not looked at yet
        self._size = 0
        self._sort_of = sort_of

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Key]:
        for chunk in self._chunks:
            yield from chunk

    def but_for(self, is_passed: Callable[[Any], bool]) -> Iterator[Key]:
        """The keys in order, without the chunks in which every sort is passed over just then."""
        for at, chunk in enumerate(self._chunks):
            sorts = self._sorts[at]
            if sorts is None:
                sorts = self._sorts[at] = set(map(self._sort_of, chunk))
            if not all(map(is_passed, sorts)):
                yield from chunk

    def __contains__(self, key: Key) -> bool:
        at = self._chunk_of(key)
        if at < 0:
            return False
        chunk = self._chunks[at]
        place = bisect_left(chunk, key)
        return place < len(chunk) and chunk[place] == key

    @property
    def first(self) -> Key | None:
        return self._chunks[0][0] if self._chunks else None

    def add(self, key: Key) -> None:
        """Add a key; one that is there already is not added again."""
        if not self._chunks:
            self._chunks, self._firsts, self._sorts, self._size = [[key]], [key], [None], 1
            return
        at = max(self._chunk_of(key), 0)
        chunk = self._chunks[at]
        if key > chunk[-1]:
            chunk.append(key)
        elif key in self:
            return
        else:
            insort(chunk, key)
        self._size += 1
        self._firsts[at] = chunk[0]
        sorts = self._sorts[at]
        if sorts is not None:
            sorts.add(self._sort_of(key))
        if len(chunk) > 2 * _CHUNK:
            self._chunks[at : at + 1] = [chunk[:_CHUNK], chunk[_CHUNK:]]
            self._firsts[at : at + 1] = [chunk[0], chunk[_CHUNK]]
            self._sorts[at : at + 1] = [None, None]

    def fill(self, keys: Iterable[Key]) -> None:
        """Add keys that come in order and are not there yet: for an empty lane this costs next to nothing."""
        if self._chunks:
            for key in keys:
                self.add(key)
            return
        ordered = iter(keys)
        while chunk := list(islice(ordered, _CHUNK)):
            self._chunks.append(chunk)
            self._firsts.append(chunk[0])
            self._sorts.append(None)
            self._size += len(chunk)

    def rank(self, key: Key) -> int:
        """How many keys come before this one."""
        at = self._chunk_of(key)
        if at < 0:
            return 0
        return sum(map(len, self._chunks[:at])) + bisect_left(self._chunks[at], key)

    def discard(self, key: Key) -> None:
        at = self._chunk_of(key)
        if at < 0:
            return
        chunk = self._chunks[at]
        place = bisect_left(chunk, key)
        if place == len(chunk) or chunk[place] != key:
            return
        del chunk[place]
        self._size -= 1
        if chunk:
            self._firsts[at] = chunk[0]
        else:
            del self._chunks[at], self._firsts[at], self._sorts[at]

    def _chunk_of(self, key: Key) -> int:
        """The chunk that holds or would hold the key; -1 if it would come before all."""
        place = bisect_left(self._firsts, key)
        return place if place < len(self._firsts) and self._firsts[place] == key else place - 1
