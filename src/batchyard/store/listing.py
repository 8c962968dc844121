"""Lists of jobs, page by page: by indexes, on connections of their own, so that a long search keeps nobody else waiting.

A search runs in a helper thread and sees what was committed when it began: whoever asks after an answer finds what the answer said. SQLite
lets go of the interpreter while it looks for the next row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import apsw
import msgspec

from batchyard.model.job import Job, Specification
from batchyard.model.view import JobQuery, Page
from batchyard.store import matching

SEARCHES = 2  # at the same time
FEW = 2000  # fewer jobs than this that meet a condition are sorted; where there are more, all jobs are walked in order

_job = msgspec.json.Decoder(Job).decode
_spec = msgspec.json.Decoder(Specification).decode

_PAIR = "SELECT j.body, s.body FROM jobs j JOIN specifications s ON s.id = j.spec WHERE "
_LAST = "\U0010ffff"  # comes after every text that goes on


class _Condition(NamedTuple):
    """A condition on one column, as SQL, and the index that finds it."""

    by: str
    said: str
    bound: list[Any]


class JobLists:
    """One per store. `connect` opens a connection that only reads; without it (a store in memory) `reader` serves the caller's thread."""

    def __init__(self, reader: apsw.Connection, connect: Callable[[], apsw.Connection] | None) -> None:
        self._reader = reader
        self._connect = connect
        self._free: list[apsw.Connection] = []
        self._threads = ThreadPoolExecutor(SEARCHES, thread_name_prefix="search")

    def close(self) -> None:
        """Wait for the searches under way."""
        self._threads.shutdown()
        while self._free:
            self._free.pop().close()

    def later(self, query: JobQuery) -> Future[Page] | None:
        """The page, from a helper thread; None where there are none."""
        return self._threads.submit(self._elsewhere, query) if self._connect is not None else None

    def _elsewhere(self, query: JobQuery) -> Page:
        assert self._connect is not None
        try:
            reader = self._free.pop()
        except IndexError:
            reader = self._connect()
        try:
            return _page(reader, query)
        finally:
            # a cursor that was not read to its end and lives on holds the snapshot: the next search would be answered from it
            if reader.txn_state() == apsw.SQLITE_TXN_NONE:
                self._free.append(reader)
            else:
                reader.close(True)

    def page(self, query: JobQuery) -> Page:
        """The jobs that have a record and answer `query`; the cursor says where the page ended."""
        return _page(self._reader, query)


def _page(reader: apsw.Connection, query: JobQuery) -> Page:
    jobs = list(islice(_matching(reader, query), query.limit + 1))
    if len(jobs) <= query.limit:
        return Page(jobs, "")
    jobs.pop()
    return Page(jobs, _cursor(query, jobs[-1][0]))


def _is_walk(query: JobQuery) -> bool:
    """Whether jobs come in order of their creation; else in order of their ids, which differs only among those of one moment."""
    return query.array is None and query.consumable is None and query.status is None


def _cursor(query: JobQuery, last: Job) -> str:
    if query.array is not None:
        return str(last.index)
    return f"{last.created_at_ms}/{last.id}" if _is_walk(query) else last.id


def _matching(reader: apsw.Connection, query: JobQuery) -> Iterator[tuple[Job, Specification]]:
    for job_body, spec_body in _rows(reader, query):
        job, spec = _job(job_body), _spec(spec_body)
        if matching.matches(query, job, spec):  # of what is a column this is known already
            yield job, spec


def _rows(reader: apsw.Connection, query: JobQuery) -> Iterator[tuple[str, str]]:
    bound: list[Any]
    select = _PAIR
    if query.array is not None:
        where, bound, order = "j.parent = ? AND j.child > ?", [query.array, int(query.cursor or -1)], "j.child"
    elif query.consumable is not None:
        select = "SELECT j.body, s.body FROM consumers c JOIN jobs j ON j.id = c.spec JOIN specifications s ON s.id = c.spec WHERE "
        where, bound, order = "c.resource = ? AND c.spec > ?", [query.consumable, query.cursor], "c.spec"
    elif _is_walk(query):
        for id in _ids(reader, query):
            yield from reader.execute(f"{_PAIR}j.id = ?", (id,))
        return
    elif query.newest_first:
        where, bound, order = "j.queue = ? AND j.parent IS NULL AND j.id < ?", [query.queue, query.cursor or _LAST], "j.id DESC"
    else:
        where, bound, order = "j.queue = ? AND j.parent IS NULL AND j.id > ?", [query.queue, query.cursor], "j.id"
    if query.status is not None:
        where, bound = f"{where} AND j.status = ?", [*bound, str(query.status)]
    yield from reader.execute(f"{select}{where} ORDER BY {order}", bound)


def _ids(reader: apsw.Connection, query: JobQuery) -> Iterator[str]:
    """The ids of a queue's jobs that can answer the query, in order of creation."""
    conditions = [*_conditions(query), *_times(query)]
    place = _place(query)
    found = next((few for condition in conditions if (few := _few(reader, query, condition)) is not None), None)
    if found is not None:
        rest = found if place is None else [at for at in found if (at < place if query.newest_first else at > place)]
        yield from (id for _, id in sorted(rest, reverse=query.newest_first))
        return
    if place is not None:
        conditions.append(_Condition("", f"(created_at_ms, id) {'<' if query.newest_first else '>'} (?, ?)", list(place)))
    where = "".join(f" AND {condition.said}" for condition in conditions)
    order = "created_at_ms DESC, id DESC" if query.newest_first else "created_at_ms, id"
    select = f"SELECT id FROM jobs INDEXED BY jobs_created WHERE queue = ? AND parent IS NULL{where} ORDER BY {order}"
    bound = [query.queue, *(value for condition in conditions for value in condition.bound)]
    for (id,) in reader.execute(select, bound):  # a generator expression would let the cursor outlive the loop in a frame that is kept
        yield id


def _place(query: JobQuery) -> tuple[int, str] | None:
    """(time of creation, id) of the last job of the page before. A cursor that is none of ours is before or after all."""
    if not query.cursor:
        return None
    created, _, id = query.cursor.partition("/")
    return int(created) if created.isdecimal() and len(created) < 19 else 0, id


def _few(reader: apsw.Connection, query: JobQuery, condition: _Condition) -> list[tuple[int, str]] | None:
    """(time of creation, id) of all jobs that meet one condition, unless they are many."""
    select = f"SELECT created_at_ms, id FROM jobs INDEXED BY {condition.by} WHERE queue = ? AND parent IS NULL AND {condition.said} LIMIT ?"
    found: list[tuple[int, str]] = list(reader.execute(select, (query.queue, *condition.bound, FEW)))
    return found if len(found) < FEW else None


def _conditions(query: JobQuery) -> Iterator[_Condition]:
    """What the indexes can tell without a record: each a range of one column."""
    if query.name is not None and query.name != "*":
        name = query.name.lower()
        yield _Condition("jobs_named", *_range("name", name.removesuffix("*"), is_prefix=name.endswith("*")))
    if query.definition is not None and query.definition != "*":
        wanted = query.definition
        if wanted.startswith("arn:"):
            yield _Condition("jobs_defined", *_range("definition", wanted.rpartition("/")[2], is_prefix=False))
        else:  # a name stands for all its revisions
            start = wanted.removesuffix("*") if wanted.endswith("*") else f"{wanted}:"
            yield _Condition("jobs_defined", *_range("definition", start, is_prefix=True))
    if query.share is not None:
        yield _Condition("jobs_shared", *_range("share", query.share, is_prefix=False))


def _times(query: JobQuery) -> Iterator[_Condition]:
    if query.created_before_ms is not None:
        yield _Condition("jobs_created", "created_at_ms < ?", [query.created_before_ms])
    if query.created_after_ms is not None:
        yield _Condition("jobs_created", "created_at_ms > ?", [query.created_after_ms])


def _range(column: str, text: str, *, is_prefix: bool) -> tuple[str, list[Any]]:
    if is_prefix:
        return f"{column} >= ? AND {column} < ?", [text, text + _LAST]
    return f"{column} = ?", [text]
