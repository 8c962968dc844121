"""What one connection has committed the next question to another one finds, whatever became of the questions before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_records import A_QUEUE, QUEUE, job, submitted, write

from batchyard.model.job import Job, Status
from batchyard.model.view import JobQuery
from batchyard.store.records import Changes
from batchyard.store.sql import Store
from kept_frames import kept_frames

QUESTIONS: dict[str, Callable[[Store], object]] = {
    "the working set": Store.load,
    "a job": lambda store: store.found("j1"),
    "the last id": Store.last_job_id,
    "the last move": Store.last_move,
    "a forgotten array": Store.leftover,
    "the first child that failed": lambda store: store.first_failed_child("a", 9),
    "whether children have records": lambda store: store.has_records_up_to("a", 1),
    "the children": lambda store: list(store.children_of("a")),
    "a page": lambda store: store.page(JobQuery(queue=QUEUE, limit=2)),
    "a page by status": lambda store: store.page(JobQuery(queue=QUEUE, status=Status.RUNNABLE, limit=2)),
    "a page of children": lambda store: store.page(JobQuery(array="a", limit=2)),
    "records by id": lambda store: store.picker.records(["j1", "j2"]),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Some jobs, an array whose children failed, and one that was forgotten but for a child."""
    opened = Store(tmp_path / "jobs.db")
    children = {
        f"{parent}:{n}": (Job(id=f"{parent}:{n}", spec_id=parent, index=n, status=Status.FAILED, created_at_ms=1, stopped_at_ms=n), QUEUE)
        for parent in ("a", "gone")
        for n in range(4)
    }
    write(opened, Changes(queues={QUEUE: A_QUEUE}))
    write(opened, submitted(job("a"), job("gone"), *(job(f"j{n}") for n in range(6))))
    write(opened, Changes(jobs=children, moves=[(1, job("j1"))]))
    write(opened, Changes(forgotten=["gone"]))
    yield opened
    opened.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_keeps_no_snapshot_for_the_next_one(store: Store, question: str) -> None:
    with kept_frames():
        assert QUESTIONS[question](store)
        write(store, submitted(job("new")))
        assert store.job("new") is not None
        assert "new" in store.picker.records(["new"])


def test_a_search_keeps_no_snapshot_for_the_next_one(store: Store) -> None:
    with kept_frames():
        for number in range(3):
            first = store.lists.later(JobQuery(queue=QUEUE, limit=1))
            assert first is not None and first.result(60).cursor
            write(store, submitted(job(f"k{number}")))
            then = store.lists.later(JobQuery(queue=QUEUE, limit=100))
            assert then is not None and f"k{number}" in [found.id for found, _ in then.result(60).jobs]
