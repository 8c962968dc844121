"""The one SQL implementation: SQLite through apsw, write-ahead log, full sync.

Exactly one connection writes *and* checkpoints (SQLite before 3.51.3 can corrupt a WAL that two connections do that to). Reads go
through a second, read-only one and so see committed state only, even while a commit is on its way in a helper thread. Each is read to
its end: a cursor that is not, and that something keeps (an exception keeps the frames below it), would answer all later reads of the
connection from its own old snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw
import msgspec

from batchyard.model.capacity import Environment, Instance, Queue
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy, ShareUsage
from batchyard.model.job import DependencyKind, Job, Specification, Status
from batchyard.model.view import JobQuery, Page
from batchyard.store import ended, forgetting, outbox
from batchyard.store.listing import JobLists
from batchyard.store.opening import opening, refuse_newer
from batchyard.store.picking import Picker
from batchyard.store.records import Changes

SCHEMA = Path(__file__).parent / "schema"

_encode = msgspec.json.Encoder().encode
_job = msgspec.json.Decoder(Job).decode
_spec = msgspec.json.Decoder(Specification).decode

_PUT_JOB = (
    "INSERT INTO jobs (id, spec, queue, parent, child, status, body, kind, ended_at_ms, name, definition, created_at_ms, share)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET"
    " status = excluded.status, body = excluded.body, kind = excluded.kind, ended_at_ms = excluded.ended_at_ms"
)
_LIVE = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")

_UNSAID = (None, None, None)

MANY_KINDS = 1000

Named = TypeVar("Named", Environment, Queue, Definition, Instance, Consumable, SchedulingPolicy, ShareUsage)


class Live(NamedTuple):
    """The working set as it was last committed."""

    environments: list[Environment]
    queues: list[Queue]
    definitions: list[Definition]
    instances: list[Instance]
    jobs: list[Job]  # not finished, children included
    specifications: dict[str, Specification]
    consumables: list[Consumable]
    policies: list[SchedulingPolicy]
    shares: list[ShareUsage]


class Store:
    """`path` is a file, or ":memory:" for tests. Opening upgrades the schema and takes a new epoch (see `epoch`)."""

    def __init__(self, path: Path | str) -> None:
        with opening(path):
            self._open(path)

    def _open(self, path: Path | str) -> None:
        self._writer = apsw.Connection(str(path))
        self._writer.set_busy_timeout(5000)
        in_memory = str(path) == ":memory:"
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = OFF", "temp_store = MEMORY", "cache_size = -32000"):
            list(self._writer.execute(f"PRAGMA {pragma}"))
        self._migrate(Path(path) if not in_memory else None)
        self._forget_kinds()
        self.epoch = self._take_epoch()
        self._reader = self._writer if in_memory else _reading(path)
        self.picker = Picker(self._reader, None if in_memory else Path(path))
        self.lists = JobLists(self._reader, None if in_memory else lambda: _reading(path))

    def close(self) -> None:
        self.lists.close()
        self.picker.close()
        if self._reader is not self._writer:
            self._reader.close()
        self._writer.close()

    # --- writing: stage on the loop, commit in a helper thread; one at a time ---

    def stage(self, changes: Changes) -> None:
        """Execute a turn's statements inside a transaction. On an error nothing stays; call `commit` otherwise."""
        run = self._writer
        run.execute("BEGIN IMMEDIATE")
        try:
            if changes.specifications:
                rows = [(s.id, _encode(s).decode()) for s in changes.specifications.values()]
                run.executemany("INSERT INTO specifications VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body", rows)
                wants = [(want.resource, s.id) for s in changes.specifications.values() for want in s.consumables]
                if wants:
                    run.executemany("INSERT INTO consumers VALUES (?, ?) ON CONFLICT DO NOTHING", wants)
                if followed := list(_followed(changes.specifications.values())):
                    run.executemany("INSERT INTO followers VALUES (?, ?) ON CONFLICT DO NOTHING", followed)
            if changes.jobs:
                resting = changes.resting
                specs = changes.specifications
                rows = [_job_row(job, queue, resting.get(id), specs.get(id)) for id, (job, queue) in changes.jobs.items()]
                run.executemany(_PUT_JOB, rows)
            for number, kind in changes.kinds.items():
                run.execute("INSERT INTO kinds VALUES (?, ?)", (number, _encode(kind).decode()))
            self._put("environments", "arn", changes.environments)
            self._put("queues", "arn", changes.queues)
            self._put("definitions", "arn", changes.definitions)
            self._put("instances", "id", changes.instances)
            self._put("consumables", "arn", changes.consumables)
            self._put("policies", "arn", changes.policies)
            self._put("shares", "id", changes.shares)
            outbox.write(run, changes)
            forgetting.delete(run, changes.forgotten)
            for parent in changes.leftovers:
                forgetting.delete_children(run, parent)
        except BaseException:
            self.abandon()
            raise

    def commit(self) -> None:
        """Make what was staged durable. Raises and leaves nothing if that fails."""
        try:
            self._writer.execute("COMMIT")
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _put(self, table: str, key: str, records: dict[str, Named | None]) -> None:
        for name, record in records.items():
            if record is None:
                self._writer.execute(f"DELETE FROM {table} WHERE {key} = ?", (name,))
            else:
                statement = f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT ({key}) DO UPDATE SET body = excluded.body"
                self._writer.execute(statement, (name, _encode(record).decode()))

    # --- reading: committed state ---

    def load(self, *, with_resting: bool = True) -> Live:
        """Everything that is not finished, with what it refers to; those that only wait are left to `resting` if so asked."""
        queues = self._all("queues", Queue)
        jobs = [j for queue in queues for j in self._live_of(queue.arn, "" if with_resting else " AND kind IS NULL")]
        for parent in [j for j in jobs if j.is_array or j.is_multi_node]:
            jobs.extend(self._live_children(parent.id))
        wanted = {job.spec_id for job in jobs}
        specifications = {id: spec for id in wanted if (spec := self.specification(id)) is not None}
        return Live(
            self._all("environments", Environment),
            queues,
            self._all("definitions", Definition),
            self._all("instances", Instance),
            jobs,
            specifications,
            self._all("consumables", Consumable),
            self._all("policies", SchedulingPolicy),
            self._all("shares", ShareUsage),
        )

    def _all(self, table: str, kind: type[Named]) -> list[Named]:
        decode = msgspec.json.Decoder(kind).decode
        return [decode(body) for (body,) in self._reader.execute(f"SELECT body FROM {table}")]

    def _live_of(self, queue: str, condition: str) -> Iterator[Job]:
        for status in _LIVE:
            select = f"SELECT body FROM jobs WHERE queue = ? AND status = ? AND parent IS NULL{condition}"
            for (body,) in self._reader.execute(select, (queue, status)):
                yield _job(body)

    def kinds(self) -> dict[int, Specification]:
        """The kinds of jobs that only wait, by number."""
        return {number: _spec(body) for number, body in self._reader.execute("SELECT id, body FROM kinds")}

    def resting(self, queue: str) -> Iterator[tuple[str, int]]:
        """The RUNNABLE jobs of a queue that only wait, by id and so in order of submission: (id, number of the kind)."""
        select = "SELECT id, kind FROM jobs WHERE queue = ? AND status = 'RUNNABLE' AND parent IS NULL AND kind IS NOT NULL ORDER BY id"
        yield from self._reader.execute(select, (queue,))

    def resting_held(self, queue: str) -> Iterator[tuple[Job, int]]:
        """The same of PENDING jobs, with their records, which say for whom they wait."""
        select = "SELECT body, kind FROM jobs WHERE queue = ? AND status = 'PENDING' AND parent IS NULL AND kind IS NOT NULL ORDER BY id"
        for body, kind in self._reader.execute(select, (queue,)):
            yield _job(body), kind

    def _live_children(self, parent: str) -> Iterator[Job]:
        for (body,) in self._reader.execute("SELECT body FROM jobs WHERE parent = ? AND status NOT IN ('SUCCEEDED', 'FAILED')", (parent,)):
            yield _job(body)

    def children_of(self, parent: str) -> Iterator[tuple[int, Status]]:
        """Of an array's children that have a record: (index, status)."""
        for child, status in self._reader.execute("SELECT child, status FROM jobs WHERE parent = ?", (parent,)):
            yield child, Status(status)

    def job(self, job_id: str) -> Job | None:
        rows = list(self._reader.execute("SELECT body FROM jobs WHERE id = ?", (job_id,)))
        return _job(rows[0][0]) if rows else None

    def found(self, job_id: str) -> tuple[Job, Specification] | None:
        """A job and its specification."""
        select = "SELECT j.body, s.body FROM jobs j JOIN specifications s ON s.id = j.spec WHERE j.id = ?"
        rows = list(self._reader.execute(select, (job_id,)))
        return (_job(rows[0][0]), _spec(rows[0][1])) if rows else None

    def first_failed_child(self, parent: str, index: int) -> Job | None:
        """Of the FAILED children with a record, up to `index`, the one that failed first."""
        select = (
            "SELECT body FROM jobs WHERE parent = ? AND child <= ? AND status = 'FAILED'"
            " ORDER BY json_extract(body, '$.stopped_at_ms'), child LIMIT 1"
        )
        rows = list(self._reader.execute(select, (parent, index)))
        return _job(rows[0][0]) if rows else None

    def has_records_up_to(self, parent: str, index: int) -> bool:
        """Whether every child up to `index` has a record."""
        ((count,),) = list(self._reader.execute("SELECT count(*) FROM jobs WHERE parent = ? AND child <= ?", (parent, index)))
        return bool(count > index)

    def specification(self, id: str) -> Specification | None:
        rows = list(self._reader.execute("SELECT body FROM specifications WHERE id = ?", (id,)))
        return _spec(rows[0][0]) if rows else None

    def moves(self, after: int, last: int, most: int) -> list[outbox.Move]:
        """Moves of jobs that were written down for who wants to be told: those after number `after`, up to `last`."""
        return outbox.moves(self._reader, after, last, most)

    def last_move(self) -> int:
        """The highest number that a move was ever given, 0 if none."""
        return outbox.last(self._reader)

    def last_job_id(self) -> str:
        """The highest id ever given, "" if none: new ids go on from there."""
        ((id,),) = list(self._reader.execute("SELECT max(id) FROM specifications"))
        return id or ""

    def ended_before(self, at_ms: int, most: int) -> list[str]:
        """Finished jobs that may be forgotten (see `forgetting.ended_before`)."""
        return forgetting.ended_before(self._reader, at_ms, most)

    def attempts_ended_since(self, at_ms: int, most: int, live: Iterable[Job]) -> dict[str, str]:
        """attempt -> job (see `ended.attempts_ended_since`)."""
        return ended.attempts_ended_since(self._reader, at_ms, most, live)

    def leftover(self) -> str | None:
        """A forgotten array that has children left."""
        return forgetting.leftover(self._reader)

    def page(self, query: JobQuery) -> Page:
        """The jobs that have a record and answer `query`, at once (see `store/listing.py`)."""
        return self.lists.page(query)

    # --- the file itself ---

    def _migrate(self, path: Path | None) -> None:
        """Bring the schema up, one file after another, each in a transaction. A backup copy is made before data are changed."""
        steps = sorted(SCHEMA.glob("*.sql"))
        have = next(iter(self._writer.execute("PRAGMA user_version")))[0]
        refuse_newer(path or ":memory:", have, len(steps))
        if have and have < len(steps) and path is not None:
            with apsw.Connection(f"{path}.before-{len(steps)}") as copy, copy.backup("main", self._writer, "main") as backup:
                backup.step()
        for number, step in enumerate(steps[have:], have + 1):
            with self._writer:
                self._writer.execute(step.read_text())
                self._writer.execute(f"PRAGMA user_version = {number}")

    def _forget_kinds(self) -> None:
        """Kinds that no job has any more. Only where many have gathered, because all waiting jobs are looked at for it."""
        if next(iter(self._writer.execute("SELECT count(*) FROM kinds")))[0] > MANY_KINDS:
            with self._writer:
                self._writer.execute("DELETE FROM kinds WHERE id NOT IN (SELECT kind FROM jobs WHERE parent IS NULL AND kind IS NOT NULL)")

    def _take_epoch(self) -> int:
        """One more than ever before: providers refuse commands of an older one."""
        with self._writer:
            before = [int(value) for (value,) in self._writer.execute("SELECT value FROM meta WHERE key = 'epoch'")]
            epoch = (before[0] if before else 0) + 1
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (str(epoch),))
        return epoch


def _reading(path: Path | str) -> apsw.Connection:
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.set_busy_timeout(5000)
    return reader


def _followed(specifications: Iterable[Specification]) -> list[tuple[str, str]]:
    """(leader, follower) of arrays that follow others child by child."""
    return [(d.job_id, s.id) for s in specifications for d in s.depends_on if d.kind is DependencyKind.N_TO_N]


def _job_row(job: Job, queue: str, kind: int | None, spec: Specification | None) -> tuple[Any, ...]:
    """`spec` comes with a job's first row: what is searched by does not change later."""
    body = _encode(job).decode()
    child = job.index if job.node is None else job.node
    if child is not None:
        return job.id, job.spec_id, queue, job.spec_id, child, str(job.status), body, kind, None, None, None, None, None
    name, definition, share = (spec.name.lower(), spec.definition.rpartition("/")[2], spec.share or None) if spec is not None else _UNSAID
    ended_at_ms = job.stopped_at_ms if job.status.is_final else None
    return job.id, job.spec_id, queue, None, None, str(job.status), body, kind, ended_at_ms, name, definition, job.created_at_ms, share
