"""What a store forgets, and that one written before it could knows what it may forget."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec

from batchyard.model.capacity import Resources
from batchyard.model.job import Dependency, DependencyKind, Job, Specification, Status
from batchyard.store import sql
from batchyard.store.records import Changes
from batchyard.store.sql import Store


def submission(id: str, *, ended_at_ms: int | None = None, size: int = 0, follows: str = "") -> tuple[Job, Specification]:
    spec = Specification(
        id=id,
        account="1",
        region="r",
        name=id,
        queue="q",
        definition="d:1",
        needs=Resources(1, 1),
        array_size=size,
        depends_on=(Dependency(follows, DependencyKind.N_TO_N),) if follows else (),
    )
    status = Status.RUNNABLE if ended_at_ms is None else Status.SUCCEEDED
    return Job(id=id, spec_id=id, status=status, created_at_ms=1, stopped_at_ms=ended_at_ms, is_array=bool(size)), spec


SUBMISSIONS = [
    submission("a", ended_at_ms=10),
    submission("b", ended_at_ms=20, size=2),
    submission("c", ended_at_ms=15, size=2, follows="b"),
    submission("d"),
    submission("e", ended_at_ms=5),
]


def write(store: Store, changes: Changes) -> None:
    store.stage(changes)
    store.commit()


def test_the_oldest_first_without_those_that_are_followed_and_the_newest() -> None:
    store = Store(":memory:")
    write(store, Changes(jobs={j.id: (j, "q") for j, _ in SUBMISSIONS}, specifications={s.id: s for _, s in SUBMISSIONS}))
    assert store.ended_before(21, 9) == ["a", "c"], "b is followed by c; e is the newest; d has not ended"
    assert store.ended_before(10, 9) == []
    assert store.ended_before(21, 1) == ["a"]
    write(store, Changes(forgotten=["a", "c"]))
    assert store.ended_before(21, 9) == ["b"]
    assert [store.job(id) is None for id in "abcde"] == [True, False, True, False, False]


def test_children_go_later_and_bit_by_bit() -> None:
    store = Store(":memory:")
    parent, spec = submission("b", ended_at_ms=20, size=3)
    children = {
        f"b:{n}": (Job(id=f"b:{n}", spec_id="b", index=n, status=Status.SUCCEEDED, created_at_ms=1, stopped_at_ms=9), "q") for n in range(3)
    }
    write(store, Changes(jobs={"b": (parent, "q"), **children}, specifications={"b": spec}))
    assert store.leftover() is None
    write(store, Changes(forgotten=["b"]))
    assert store.leftover() == "b" and store.job("b:1") is not None
    write(store, Changes(leftovers=["b"]))
    assert store.leftover() is None and store.job("b:1") is None


def test_a_store_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "batchyard.db"
    encode = msgspec.json.Encoder().encode
    with apsw.Connection(str(path)) as old:
        old.execute((sql.SCHEMA / "0001.sql").read_text())
        old.execute("PRAGMA user_version = 1")
        for job, spec in SUBMISSIONS:
            row = (job.id, spec.id, "q", None, None, str(job.status), encode(job).decode())
            old.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            old.execute("INSERT INTO specifications VALUES (?, ?)", (spec.id, encode(spec).decode()))
    store = Store(path)
    assert store.ended_before(21, 9) == ["a", "c"]
    write(store, Changes(forgotten=["a", "c"]))
    assert store.ended_before(21, 9) == ["b"]
    store.close()
