"""One conformance suite for the store of jobs, on a file and in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from store_records import (
    A_QUEUE,
    DEFINITION,
    ENVIRONMENT,
    FULL_JOB,
    FULL_SPEC,
    INSTANCE,
    QUEUE,
    child,
    job,
    spec,
    submitted,
    write,
)

from batchyard.model.job import Job, Specification, Status
from batchyard.model.view import JobQuery
from batchyard.store import listing
from batchyard.store.matching import matches
from batchyard.store.records import Changes
from batchyard.store.sql import Store

S = Status


@pytest.fixture(params=["file", ":memory:"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = Store(":memory:" if request.param == ":memory:" else tmp_path / "jobs.db")
    yield opened
    opened.close()


FULL = Changes(
    specifications={"j1": FULL_SPEC},
    jobs={"j1": (FULL_JOB, QUEUE)},
    environments={ENVIRONMENT.arn: ENVIRONMENT},
    queues={QUEUE: A_QUEUE},
    definitions={DEFINITION.arn: DEFINITION},
    instances={INSTANCE.id: INSTANCE},
)


def test_every_record_comes_back_as_it_was(store: Store) -> None:
    write(store, FULL)
    live = store.load()
    assert (live.environments, live.queues, live.definitions, live.instances) == ([ENVIRONMENT], [A_QUEUE], [DEFINITION], [INSTANCE])
    assert (live.jobs, live.specifications) == ([FULL_JOB], {"j1": FULL_SPEC})
    assert (store.job("j1"), store.specification("j1")) == (FULL_JOB, FULL_SPEC)


def test_what_is_not_there(store: Store) -> None:
    assert store.job("x") is None and store.specification("x") is None
    assert list(store.children_of("x")) == []
    assert store.last_job_id() == ""
    assert store.load() == ([], [], [], [], [], {}, [], [], [])
    assert store.page(JobQuery(queue=QUEUE)) == ([], "")


def test_a_second_write_replaces_and_none_removes(store: Store) -> None:
    write(store, FULL)
    changed = replace(FULL_JOB, status=S.FAILED, current=None)
    write(
        store,
        Changes(
            specifications={"j1": replace(FULL_SPEC, tags={})},
            jobs={"j1": (changed, QUEUE)},
            environments={ENVIRONMENT.arn: replace(ENVIRONMENT, max_vcpus=1)},
            instances={INSTANCE.id: None},
            definitions={DEFINITION.arn: None},
        ),
    )
    assert store.job("j1") == changed
    kept = store.specification("j1")
    assert kept is not None and kept.tags == {}
    live = store.load()
    assert ([e.max_vcpus for e in live.environments], live.instances, live.definitions) == ([1], [], [])
    assert live.jobs == [], "it is finished"
    write(store, Changes(environments={ENVIRONMENT.arn: None}, queues={QUEUE: None}))
    assert store.load() == ([], [], [], [], [], {}, [], [], [])
    assert store.job("j1") == changed, "a job outlives its queue"


def test_the_working_set_is_what_is_not_finished(store: Store) -> None:
    write(store, Changes(queues={QUEUE: A_QUEUE, "other": replace(A_QUEUE, arn="other")}))
    for status in S:
        write(store, submitted(job(f"j-{status}", status)))
    write(store, submitted(job("far", S.PENDING), queue="other"))
    live = store.load()
    assert {j.id for j in live.jobs} == {f"j-{s}" for s in S if not s.is_final} | {"far"}
    assert set(live.specifications) == {j.id for j in live.jobs}


def test_children_of_unfinished_arrays_are_loaded_and_those_of_finished_ones_are_not(store: Store) -> None:
    write(store, Changes(queues={QUEUE: A_QUEUE}))
    write(store, submitted(job("a", S.PENDING, is_array=True), child("a", 0, S.RUNNING), child("a", 2, S.SUCCEEDED), array_size=3))
    write(store, submitted(job("b", S.FAILED, is_array=True), child("b", 0, S.FAILED), array_size=3))
    assert {j.id for j in store.load().jobs} == {"a", "a:0"}
    assert list(store.children_of("a")) == [(0, S.RUNNING), (2, S.SUCCEEDED)]
    assert list(store.children_of("b")) == [(0, S.FAILED)]


def test_the_last_id(store: Store) -> None:
    write(store, submitted(job("0001", S.SUCCEEDED), job("0003"), job("0002")))
    assert store.last_job_id() == "0003"


# --- all or nothing ---


def test_nothing_of_a_staged_turn_stays_when_it_is_abandoned(store: Store) -> None:
    store.stage(FULL)
    store.abandon()
    assert store.load() == ([], [], [], [], [], {}, [], [], [])
    store.abandon()
    write(store, FULL)
    assert store.job("j1") == FULL_JOB


def test_a_statement_that_fails_leaves_nothing_and_the_store_goes_on(store: Store) -> None:
    bad = Changes(specifications={"j1": FULL_SPEC}, jobs={"j1": (FULL_JOB, QUEUE), "j2": (job("j2"), None)})  # type: ignore[dict-item]
    with pytest.raises(Exception, match="NOT NULL"):
        store.stage(bad)
    assert store.job("j1") is None and store.specification("j1") is None
    write(store, FULL)
    assert store.job("j1") == FULL_JOB


def test_a_commit_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.stage(FULL)

    def refuse() -> bool:
        return True  # SQLite turns the COMMIT into an error and a ROLLBACK

    store._writer.set_commit_hook(refuse)
    with pytest.raises(Exception, match="constraint"):
        store.commit()
    store._writer.set_commit_hook(None)
    assert store.job("j1") is None
    write(store, FULL)
    assert store.job("j1") == FULL_JOB


# --- pages ---


def walk(store: Store, limit: int, **query: Any) -> list[str]:
    """The ids of all pages one after the other; no page is larger than asked for, and only the last has no cursor."""
    ids: list[str] = []
    cursor = ""
    while True:
        page = store.page(JobQuery(limit=limit, cursor=cursor, **query))
        assert len(page.jobs) <= limit
        ids += [j.id for j, _ in page.jobs]
        if not page.cursor:
            return ids
        assert len(page.jobs) == limit
        cursor = page.cursor


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_of_a_queue_are_the_whole_in_order(store: Store, limit: int, newest_first: bool) -> None:
    jobs = [job(f"{n:03}", S.RUNNABLE if n % 2 else S.SUCCEEDED) for n in range(7)]
    write(store, submitted(*jobs))
    write(store, submitted(job("zzz"), queue="other"))
    ids = [j.id for j in jobs]
    assert walk(store, limit, queue=QUEUE, newest_first=newest_first) == (ids[::-1] if newest_first else ids)
    odd = [j.id for j in jobs if j.status is S.RUNNABLE]
    assert walk(store, limit, queue=QUEUE, status=S.RUNNABLE, newest_first=newest_first) == (odd[::-1] if newest_first else odd)


def test_a_page_knows_no_children_and_a_page_of_children_nothing_else(store: Store) -> None:
    parts = [child("a", n, S.SUCCEEDED if n % 2 else S.FAILED) for n in (0, 1, 2, 10, 9)]
    write(store, submitted(job("a", S.PENDING, is_array=True), *parts, job("b"), array_size=20))
    assert walk(store, 10, queue=QUEUE) == ["a", "b"]
    assert walk(store, 2, array="a") == ["a:0", "a:1", "a:2", "a:9", "a:10"]
    assert walk(store, 1, array="a", status=S.SUCCEEDED) == ["a:1", "a:9"]
    (_, spec_of_child), *_ = store.page(JobQuery(array="a")).jobs
    assert spec_of_child.id == "a"


NAMES = {"1": ("align", 10), "2": ("Align-2", 20), "3": ("sort", 30)}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"name": "align"}, ["1"]),
        ({"name": "ALIGN*"}, ["1", "2"]),
        ({"name": "*"}, ["1", "2", "3"]),
        ({"name": "x"}, []),
        ({"created_after_ms": 10}, ["2", "3"]),
        ({"created_before_ms": 30}, ["1", "2"]),
        ({"created_after_ms": 10, "created_before_ms": 30}, ["2"]),
        ({"definition": "d"}, ["1", "2", "3"]),
        ({"definition": "d*"}, ["1", "2", "3"]),
        ({"definition": "e*"}, []),
        ({"definition": "arn:aws:batch:r:1:job-definition/d:1"}, ["1", "2", "3"]),
        ({"definition": "arn:aws:batch:r:1:job-definition/d:2"}, []),
    ],
)
def test_filters(store: Store, query: dict[str, Any], ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    changes = Changes()
    for id, (name, created_at_ms) in NAMES.items():
        changes.jobs[id] = (job(id, S.SUCCEEDED, created_at_ms=created_at_ms), QUEUE)
        changes.specifications[id] = spec(id, name=name)
    write(store, changes)
    for few in (listing.FEW, 0):
        monkeypatch.setattr(listing, "FEW", few)
        for limit in (1, 2, 3):
            assert walk(store, limit, queue=QUEUE, **query) == ids
            assert walk(store, limit, queue=QUEUE, newest_first=True, **query) == ids[::-1]
        assert walk(store, 2, queue=QUEUE, status=S.SUCCEEDED, **query) == ids


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_pages_by_index_are_those_of_a_search_through_all(drawn: st.DataObject) -> None:
    """Names, definitions, times and states at random, against a list in Python."""
    kept = Store(":memory:")
    changes = Changes()
    rows: list[tuple[Job, Specification]] = []
    words = st.sampled_from(["a", "ab", "A-b", "b", "ba"])
    for number in range(drawn.draw(st.integers(0, 25))):
        one = job(f"{number:03}", drawn.draw(st.sampled_from(list(S))), created_at_ms=number // 2)
        said = spec(
            one.id,
            name=drawn.draw(words),
            definition=f"arn:aws:batch:r:1:job-definition/{drawn.draw(words)}:{drawn.draw(st.integers(1, 2))}",
        )
        where = drawn.draw(st.sampled_from([QUEUE, QUEUE, "other"]))
        changes.jobs[one.id], changes.specifications[one.id] = (one, where), said
        if where == QUEUE:
            rows.append((one, said))
    write(kept, changes)
    patterns = st.one_of(words, words.map("{}*".format), st.just("*"))
    query = drawn.draw(
        st.fixed_dictionaries(
            {"newest_first": st.booleans()},
            optional={
                "name": patterns,
                "definition": st.one_of(patterns, words.map("arn:aws:batch:r:1:job-definition/{}:1".format)),
                "share": st.sampled_from(["x", "y", "z"]),
                "created_before_ms": st.integers(0, 12),
                "created_after_ms": st.integers(0, 12),
                "status": st.sampled_from(list(S)),
            },
        )
    )
    asked = JobQuery(queue=QUEUE, **query)
    wanted = [j.id for j, s in rows if matches(asked, j, s) and asked.status in (None, j.status)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "FEW", drawn.draw(st.sampled_from([0, 3, 2000])))
        assert walk(kept, drawn.draw(st.integers(1, 9)), queue=QUEUE, **query) == (wanted[::-1] if asked.newest_first else wanted)
    kept.close()


# --- a file ---


def test_all_is_there_after_a_reopen_and_the_epoch_rises(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    epochs = []
    for round in range(3):
        store = Store(path)
        epochs.append(store.epoch)
        write(store, submitted(job(f"j{round}"), job(f"k{round}", S.SUCCEEDED)))
        if not round:
            write(store, Changes(queues={QUEUE: A_QUEUE}))
        store.close()
    assert epochs == [1, 2, 3]
    store = Store(path)
    assert [j.id for j in store.load().jobs] == ["j0", "j1", "j2"]
    store.close()


def test_a_reader_sees_nothing_of_a_turn_that_is_being_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.db")
    store.stage(FULL)
    assert store.job("j1") is None and store.load().queues == []
    store.commit()
    assert store.job("j1") == FULL_JOB
    store.close()


def test_what_is_committed_survives_the_loss_of_the_process(tmp_path: Path) -> None:
    """Nothing is closed in an orderly way, and a turn is half written."""
    path = tmp_path / "jobs.db"
    store = Store(path)
    write(store, submitted(job("kept")))
    store.stage(submitted(job("lost")))
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    after = Store(copy)
    assert after.job("kept") == job("kept")
    assert after.job("lost") is None
    after.close()
    store.abandon()
    store.close()


def test_many_jobs_in_one_turn(store: Store) -> None:
    jobs: list[Job] = [job(f"{n:05}") for n in range(3000)]
    write(store, Changes(queues={QUEUE: A_QUEUE}))
    write(store, submitted(*jobs))
    assert store.load().jobs == jobs


def test_closing_in_memory_and_on_file(tmp_path: Path) -> None:
    for make in (lambda: Store(":memory:"), lambda: Store(tmp_path / "x.db")):
        opened: Callable[[], Store] = make
        store = opened()
        store.close()
        with pytest.raises(Exception, match="closed"):
            store.job("x")
